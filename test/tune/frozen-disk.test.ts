// SPDX-License-Identifier: Apache-2.0
// Frozen rows on disk: found again by content in another run and another process's pool, never trusted when damaged, and
// bounded; whatever happens to the folder, training goes on.

import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { defineChain, tune } from "../../src/index.js";
import type { DataItem } from "../../src/tune/data.js";
import type { FrozenPlaceOptions } from "../../src/tune/frozen-place.js";
import { diskOf } from "../../src/tune/frozen-place.js";
import type { Tuning, TuningOptions } from "../../src/tune/tuning.js";
import { openTuning } from "../../src/tune/tuning.js";
import { loadTiny, passages, question } from "../chain/tiny-model.js";

let folder: string;
let model: Model;
const warnings: string[] = [];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "baton-frozen-"));
  model = await loadTiny();
  warnings.length = 0;
});
afterEach(async () => {
  await model.close();
  rmSync(folder, { recursive: true, force: true });
});

const records = Array.from({ length: 3 }, (_, at) => ({
  question: `${at} ${question}`,
  passages,
  compress: "Eleven weeks.",
  answer: "eleven weeks",
}));

const open = (on: Model, options: Partial<TuningOptions> = {}, prompt = "c"): Promise<Tuning> =>
  openTuning(
    defineChain(on)
      .input("question")
      .input("passages")
      .stage("compress", { prompt: { text: prompt, virtualTokens: 5 } })
      .stage("answer", { reads: ["question", "compress"], opener: "Answer:" }).definition,
    {
      stages: { answer: { init: { text: "x" }, virtualTokens: 3 } },
      data: records,
      frozenFolder: folder,
      onWarning: (text) => warnings.push(text),
      ...options,
    },
  );

interface Outcome {
  reused: number;
  frozen: number;
  losses: number[];
  gradients: number[];
}

/** Prepares every item and takes one step over them. */
async function stepOver({ task, items, initial }: Tuning): Promise<Outcome> {
  const ready = [];
  for (const item of items) ready.push(await task.prepare(item as DataItem));
  const { losses, gradients } = await task.loss(ready, initial, { gradient: true, scale: 1 });
  for (const item of ready) task.release(item);
  task.close();
  return {
    reused: ready.reduce((sum, one) => sum + one.reused, 0),
    frozen: ready.reduce((sum, one) => sum + one.rows.frozen, 0),
    losses: [...losses],
    gradients: [...(gradients[0] as Float32Array)],
  };
}

/** Of each record, question and compress are read by live rows. */
const filesOfAll = 2 * records.length;

const files = () => readdirSync(folder).map((name) => join(folder, name));

const bytesOfFiles = () => files().reduce((sum, path) => sum + statSync(path).size, 0);

/** The same items on a model of its own, whose pool has seen nothing. */
async function later(options: Partial<TuningOptions> = {}, prompt?: string): Promise<Outcome> {
  const other = await loadTiny();
  const outcome = await stepOver(await open(other, options, prompt));
  await other.close();
  return outcome;
}

describe("frozen rows on disk", () => {
  test("a later run finds all of them, and its step is the same, bit for bit", async () => {
    const first = await stepOver(await open(model));
    expect(first.reused).toBe(0);
    expect(files().length).toBe(filesOfAll);
    const second = await later();
    expect(second).toEqual({ ...first, reused: first.frozen });
  });

  test("they depend on the prompts that wrote them", async () => {
    await stepOver(await open(model));
    const other = await later({}, "another prompt");
    const questions = records.map((one) => model.tokenizer.encode(one.question, { specials: false }).length);
    expect(other.reused).toBe(questions.reduce((sum, rows) => sum + rows, 0)); // these read no prompt
    expect(files().length).toBe(filesOfAll + records.length);
  });

  test("a damaged file is computed again and replaced", async () => {
    const first = await stepOver(await open(model));
    const flip = (path: string) => {
      const bytes = readFileSync(path);
      bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
      writeFileSync(path, bytes);
    };
    const cut = (path: string) => writeFileSync(path, readFileSync(path).subarray(0, 200));
    const empty = (path: string) => writeFileSync(path, "");
    for (const [at, path] of files().entries()) [flip, cut, empty][at % 3]?.(path);
    const again = await later();
    expect(again).toEqual(first);
    expect((await later()).reused).toBe(first.frozen);
  });

  test("the budget holds, and the least recently used go first", async () => {
    await stepOver(await open(model));
    const budget = Math.ceil((2 / 3) * bytesOfFiles());
    const before = await later({ frozenDiskBytes: budget, data: records.slice(0, 2) }); // uses two of the three
    expect(before.reused).toBe(before.frozen);
    const fresh = { ...records[0], question: `new ${question}` };
    await later({ frozenDiskBytes: budget, data: [fresh] });
    expect(bytesOfFiles()).toBeLessThanOrEqual(budget);
    expect((await later({ data: [fresh] })).reused).toBeGreaterThan(0);
    expect((await later({ frozenDiskBytes: 1, data: [{ ...fresh, question: "other" }] })).reused).toBe(0);
  });

  test("what killed processes left of their writes goes, what somebody may still write stays", async () => {
    const write = (name: string, hours: number) => {
      const path = join(folder, name);
      writeFileSync(path, "half a file");
      const then = new Date(Date.now() - hours * 3_600_000);
      utimesSync(path, then, then);
    };
    write(`old.frozen-kv.1.baton-incomplete`, 2);
    write(`new.frozen-kv.1.baton-incomplete`, 0.5);
    write(`notes.txt`, 2);
    await stepOver(await open(model));
    const others = readdirSync(folder).filter((name) => !name.endsWith(".frozen-kv"));
    expect(others.sort()).toEqual(["new.frozen-kv.1.baton-incomplete", "notes.txt"]);
  });

  test("a folder that cannot be written: one warning, and training goes on", async () => {
    const blocked = join(folder, "file");
    writeFileSync(blocked, "no folder");
    chmodSync(blocked, 0o400);
    const outcome = await stepOver(await open(model, { frozenFolder: join(blocked, "inside") }));
    expect(outcome.losses.every(Number.isFinite)).toBe(true);
    expect(warnings.length).toBe(1);
  });

  test("a budget too small for all of them is filled once, and what it holds is found in every epoch", async () => {
    await stepOver(await open(model));
    const budget = Math.ceil(bytesOfFiles() / 2);
    rmSync(folder, { recursive: true });
    const other = await loadTiny({ indexBytes: 0 });
    const tuning = await open(other, { frozenDiskBytes: budget, frozenBytes: 0 });
    const epoch = async () => {
      let found = 0;
      for (const item of tuning.items) {
        const ready = await tuning.task.prepare(item as DataItem);
        found += ready.reused;
        tuning.task.release(ready);
      }
      return found;
    };
    expect(await epoch()).toBe(0);
    const names = files().sort();
    expect(names.length).toBeGreaterThan(0);
    expect(names.length).toBeLessThan(filesOfAll);
    const found = await epoch();
    expect(found).toBeGreaterThan(0);
    expect(await epoch()).toBe(found);
    expect(files().sort()).toEqual(names);
    expect(bytesOfFiles()).toBeLessThanOrEqual(budget);
    tuning.task.close();
    await other.close();
  });

  test("the training of another stage finds what it reads in common, and its step is the same, bit for bit", async () => {
    const without = await stepOver(await open(model, { frozenFolder: null }));
    const first = await stepOver(await open(model, { stages: { compress: {} } }));
    expect(first.reused).toBe(0);
    expect(files().length).toBe(filesOfAll); // of each record question and passages
    const second = await later(); // the answer's: reads compress, which is computed from passages that were found
    expect(second).toEqual({ ...without, reused: first.frozen });
    expect((await later()).reused).toBe(second.frozen);
  });

  test("by default they are beside the models that were fetched, or where the environment says", async () => {
    const place = (env: Record<string, string>, options: FrozenPlaceOptions = {}) => diskOf(options, env);
    expect(await place({ BATON_CACHE: folder })).toMatchObject({ folder: join(folder, "frozen-kv") });
    const named = join(folder, "a", "b");
    const env = { BATON_CACHE: folder, BATON_FROZEN_FOLDER: named };
    expect(await place(env)).toMatchObject({ folder: named });
    expect(await place({ ...env, BATON_FROZEN_FOLDER: "off" })).toBeNull();
    expect(await place(env, { frozenFolder: null })).toBeNull();
    expect(await place(env, { frozenFolder: folder, frozenDiskBytes: 5 })).toMatchObject({
      folder,
      bytes: 5,
    });
    const { bytes = 0 } = (await place(env)) ?? {};
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThanOrEqual(8 * 2 ** 30);
    expect(readdirSync(folder)).toEqual([]); // asked only, nothing was written
  });

  test("tune() takes the folder", async () => {
    const chain = defineChain(model).input("question").stage("answer", { opener: "Answer:" });
    const options = { stages: ["answer" as const], data: records, epochs: 1, frozenFolder: folder };
    await tune(chain, { ...options, frozenDiskBytes: 2 ** 20 }).result;
    expect(files().length).toBe(records.length);
  });

  test("wrong options are refused by name", async () => {
    await expect(open(model, { frozenFolder: "" })).rejects.toMatchObject({ code: "OPTION_INVALID" });
    await expect(open(model, { frozenDiskBytes: -1 })).rejects.toMatchObject({ code: "OPTION_INVALID" });
  });
});
