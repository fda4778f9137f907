// SPDX-License-Identifier: Apache-2.0
// What a random program may do: each command is a line of `table`, with its numbers and what it does to the world and
// to the reference beside it. Numbers are drawn without knowing the world and mean something in any.

import { join } from "node:path";
import fc from "fast-check";
import type { CacheHandle } from "../../../src/index.js";
import type { Held, World } from "./world.js";
import { mostHandles } from "./world.js";

interface Line {
  /** How often, beside the others. */
  weight: number;
  /** Without a handle there is nothing to do it with. */
  bare?: boolean;
  run: (world: World, of: Held, a: number, b: number) => Promise<void> | void;
}

/** `count` ids that depend on the numbers; few kinds, so that programs meet content that they had before. */
function idsOf(a: number, b: number): number[] {
  const count = 1 + (a % 60);
  return Array.from({ length: count }, (_, i) => (i * 37 + (b % 5) * 101) % 500);
}

const settings = (b: number) => ({
  closers: ["<|endoftext|>"],
  temperature: b % 2 === 0 ? 0 : 0.9,
  seed: b % 7,
});

async function generate(
  world: World,
  of: Held,
  tokens: number,
  b: number,
  signal?: AbortSignal,
): Promise<void> {
  const { contextLength } = world.model.info;
  if (of.rows.length === 0 || of.rows.length >= contextLength) return;
  const options = { ...settings(b), maxTokens: tokens, ...(signal === undefined ? {} : { signal }) };
  const outcome = await world.attempt("generate", () => of.handle.generate(options).result);
  if (outcome === null) return;
  of.rows.push(...outcome.tokens);
}

/** An abort at any moment: the handle is as it was, or everything was done before. */
async function aborted(
  world: World,
  of: Held,
  b: number,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  const reason = new Error("stopped by the program");
  if (b % 3 === 0) queueMicrotask(() => controller.abort(reason));
  else if (b % 3 === 1) setImmediate(() => controller.abort(reason));
  else setTimeout(() => controller.abort(reason), b % 4);
  const before = [...of.rows];
  try {
    await work(controller.signal);
  } catch (error) {
    if (error !== reason) throw error;
    of.rows.splice(0, of.rows.length, ...before);
    world.count("abort");
  }
}

async function append(world: World, of: Held, ids: number[], signal?: AbortSignal): Promise<void> {
  const options = signal === undefined ? {} : { signal };
  if ((await world.attempt("append", () => of.handle.append(ids, options))) !== null) of.rows.push(...ids);
}

function add(world: World, handle: () => CacheHandle, rows: number[], marks: Held["marks"] = []): void {
  if (room(world)) world.add(handle(), rows, marks);
}

export const table: Readonly<Record<string, Line>> = {
  open: { weight: 2, bare: true, run: (world) => add(world, () => world.model.cache.open(), []) },
  append: { weight: 8, run: (world, of, a, b) => append(world, of, idsOf(a, b)) },
  generate: { weight: 4, run: (world, of, a, b) => generate(world, of, 1 + (a % 20), b) },
  fork: { weight: 4, run: (world, of) => add(world, () => of.handle.fork(), of.rows, of.marks) },
  truncate: {
    weight: 3,
    run: (_world, of, a) => {
      const rows = a % (of.rows.length + 1);
      of.handle.truncate(rows);
      of.rows.length = rows;
      of.marks = of.marks.filter((one) => one.rows.length <= rows);
    },
  },
  mark: {
    weight: 2,
    run: (_world, of) => void of.marks.push({ mark: of.handle.mark(), rows: [...of.rows] }),
  },
  rewind: {
    weight: 2,
    run: (world, of, a) => {
      const place = of.marks[a % Math.max(1, of.marks.length)];
      if (place === undefined) return;
      of.handle.rewind(place.mark);
      of.rows = [...place.rows];
      of.marks = of.marks.filter((one) => one.rows.length <= place.rows.length);
      world.count("rewind");
    },
  },
  close: {
    weight: 2,
    run: (world, of) => {
      of.handle.close();
      world.held = world.held.filter((one) => one !== of);
    },
  },
  "append, aborted": {
    weight: 2,
    run: (world, of, a, b) => aborted(world, of, b, (signal) => append(world, of, idsOf(a, b), signal)),
  },
  "generate, aborted": {
    weight: 2,
    run: (world, of, a, b) =>
      aborted(world, of, b, (signal) => generate(world, of, 20 + (a % 40), b, signal)),
  },
  "all at once": {
    weight: 2,
    run: async (world, _of, a, b) => {
      const work = world.held.map((one, index) =>
        (a + index) % 2 === 0
          ? append(world, one, idsOf(a + index, b))
          : generate(world, one, 1 + (b % 9), index),
      );
      await Promise.all(work);
    },
  },
  evict: {
    weight: 1,
    run: async (world, _of, a) => {
      const filler = world.model.cache.open();
      const rows = Array.from({ length: 200 + (a % 200) }, (_, i) => (i * 13 + a) % 500);
      await world.attempt("evict", () => filler.append(rows));
      filler.close();
    },
  },
  snapshot: {
    weight: 1,
    run: async (world, of) => {
      if (of.rows.length === 0) return;
      const path = join(world.folder, `${world.snapshots.length % 5}.snapshot`);
      await of.handle.snapshot(path);
      world.snapshots = world.snapshots.filter((one) => one.path !== path);
      world.snapshots.push({ path, rows: [...of.rows] });
    },
  },
  restore: {
    weight: 1,
    bare: true,
    run: async (world, _of, a) => {
      const from = world.snapshots[a % Math.max(1, world.snapshots.length)];
      if (from === undefined || !room(world)) return;
      const handle = await world.attempt("restore", () => world.model.cache.restore(from.path));
      if (handle !== null) world.add(handle, from.rows);
    },
  },
  look: { weight: 3, run: (world, of) => world.checkNext(of) },
};

const room = (world: World): boolean => world.held.length < mostHandles;

class Command implements fc.AsyncCommand<object, World> {
  constructor(
    readonly name: string,
    readonly numbers: readonly [number, number, number],
  ) {}

  /** Programs are made without a world: what cannot be done in this one is left out when it comes to it. */
  check(): boolean {
    return true;
  }

  async run(_model: object, world: World): Promise<void> {
    const [which, a, b] = this.numbers;
    const line = table[this.name] as Line;
    if (world.held.length === 0 && line.bare !== true) return;
    await line.run(world, world.held.length === 0 ? (null as never) : world.pick(which), a, b);
    world.count("commands");
    world.checkCounts();
  }

  toString(): string {
    return `${this.name}(${this.numbers})`;
  }
}

const numbers = fc.tuple(fc.nat(50), fc.nat(1000), fc.nat(1000));

/** Programs of about `length` commands. */
export function programs(length: number): fc.Arbitrary<Iterable<fc.AsyncCommand<object, World>>> {
  const lines = Object.entries(table).flatMap(([name, { weight }]) =>
    Array.from({ length: weight }, () => numbers.map((three) => new Command(name, three))),
  );
  return fc.commands(lines, { maxCommands: length, size: "max" });
}
