// SPDX-License-Identifier: Apache-2.0
// Runs that go on: saved at any moment, in another process they end as the one that was never interrupted, ask the
// program for nothing that it has answered, and compute nothing that the snapshot has.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { ChainEvent, ChainRun, LoadOptions, Model } from "../../src/index.js";
import { BatonError, defineChain } from "../../src/index.js";
import { reheaded } from "../cache/snapshot-support.js";
import { loadTiny, passages, question } from "./tiny-model.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-resume-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const open: Model[] = [];
async function load(options: LoadOptions = {}): Promise<Model> {
  const model = await loadTiny(options);
  open.push(model);
  return model;
}
afterEach(async () => {
  for (const model of open.splice(0)) await model.close();
});

const failure = async (promise: Promise<unknown>): Promise<BatonError> => {
  const error = await promise.then(
    () => new Error("nothing failed"),
    (caught: unknown) => caught,
  );
  if (BatonError.isInstance(error)) return error;
  throw error;
};

const soft = (text: string) => ({ text, virtualTokens: 7 });
const free = { closers: ["<|endoftext|>"], maxTokens: 9 };

interface Asked {
  questions: string[];
}

/** Own inputs, owed rows, rounds, conditions, branches, joins and a chain inside; greedy and sampled stages. */
function manySteps(model: Model, asked: Asked = { questions: [] }, prompt = "Summarise") {
  const ask = <T>(name: string, value: T): T => {
    asked.questions.push(name);
    return value;
  };
  const inner = defineChain(model)
    .input("claim")
    .stage("judge", { ...free, prompt: soft("Judge"), maxTokens: 5 });
  return defineChain(model)
    .input("question")
    .input("passages", { format: "Text: {passages}\n" })
    .stage("note", { ...free, prompt: soft(prompt), own: ["passages"] })
    .input("hint", { from: async ({ note }) => ask("hint", `Hint ${note.text.length}.`) })
    .rounds(
      "debate",
      (round) =>
        round
          .input("turn", { from: (_, { round: index }) => ask(`turn ${index}`, `Turn ${index}:`) })
          .stage("recall", { ...free, prompt: soft("Recall"), own: ["turn"], temperature: 0.8, seed: 3 })
          .stage("reason", { ...free, prompt: soft("Reason"), logprobs: 2, frequencyPenalty: 0.5 }),
      { max: 3, until: (_, { round }) => ask(`until ${round}`, round === 1) },
    )
    .when(
      "doubt",
      ({ note }) => ask("doubt", note.text.length >= 0),
      (inside) => inside.stage("check", { ...free, reads: ["question", "debate"] }),
    )
    .fanOut("votes", { samples: 3 }, (branch) =>
      branch
        .stage("vote", { ...free, prompt: soft("Vote"), temperature: 1 })
        .stage("why", { ...free, reads: ["vote"], maxTokens: 4 }),
    )
    .fanOut("parts", { items: async () => ask("items", ["one", "two"]) }, (branch) =>
      branch.input("item").stage("part", { ...free, own: ["item"], reads: ["question", "votes"] }),
    )
    .join("pick", { ...free, reads: ["votes", "parts"], prompt: soft("Pick"), minP: 0.01, temperature: 0.7 })
    .use("final", inner, { claim: "pick" });
}

const inputs = { question, passages };

/** All texts, tokens, reasons and log-probabilities, without what counts time and rows. */
function outcome(results: unknown): unknown {
  const plain = JSON.parse(JSON.stringify(results, (key, value) => (key === "usage" ? undefined : value)));
  return plain;
}

/** Saves the run when its `at`th event comes, or the event that is asked for, and stops it; false: it had ended. */
async function savedAt<R>(
  run: ChainRun<string, R>,
  at: number | ((event: ChainEvent) => boolean),
  path: string,
  onMoment = () => {},
): Promise<boolean> {
  let seen = 0;
  for await (const event of run) {
    if (typeof at === "number" ? seen++ < at : !at(event)) continue;
    const saving = run.snapshot(path);
    onMoment();
    return saving.then(
      () => true,
      (error: BatonError) => {
        if (error.code !== "CLOSED") throw error;
        return false;
      },
    );
  }
  return false;
}

describe("a run saved at any moment", () => {
  test("ends as the one that was never interrupted, and asks for nothing twice", async () => {
    const reference = await load();
    const whole = { questions: [] as string[] };
    const run = manySteps(reference, whole).run(inputs);
    let events = 0;
    for await (const _ of run) events += 1;
    const expected = outcome(await run.result);
    const total = reference.cache.stats().rowsComputed;
    const path = join(folder, "any-moment");
    let least = Number.POSITIVE_INFINITY;
    for (let at = 0; at < events; at += 5) {
      const home = await loadTiny();
      const asked = { questions: [] as string[] };
      const first = manySteps(home, asked).run(inputs);
      let before: string[] = [];
      const note = () => {
        before = [...asked.questions];
      };
      const saved = await savedAt(first, at, path, note);
      await home.close();
      if (!saved) break; // how many events there are depends on how they are batched
      const away = await loadTiny();
      const rest = { questions: [] as string[] };
      const second = manySteps(away, rest).resume(path);
      expect(outcome(await second.result), `event ${at}`).toEqual(expected);
      const again = rest.questions.filter((one) => before.includes(one));
      expect(again.length).toBeLessThan(2); // one that was asked and had not answered
      expect(new Set([...before, ...rest.questions])).toEqual(new Set(whole.questions));
      const report = await second.resumed;
      expect(report).toMatchObject({ rowsLeftOut: 0, stagesLeftOut: 0, fault: null });
      const { rowsComputed } = away.cache.stats();
      expect(rowsComputed).toBeLessThanOrEqual(total - report.rows);
      least = Math.min(least, rowsComputed);
      promptsOnly(away);
      await away.close();
    }
    expect(least).toBeLessThan(total / 4);
  }, 120_000);
});

/** What is left of a run are prompts, which stay for the next one. */
function promptsOnly(model: Model): void {
  const { bytes } = model.cache.stats();
  expect([bytes.inputs, bytes.outputs]).toEqual([0, 0]);
}

describe("going on", () => {
  test("events of ended stages come in short, those of a stage in its middle are whole", async () => {
    const model = await load();
    const path = join(folder, "events");
    const chain = manySteps(model);
    await savedAt(chain.run(inputs), 30, path);
    const texts = new Map<string, string>();
    const ends: string[] = [];
    const run = chain.resume(path);
    for await (const event of run) {
      if (event.type === "text-delta") texts.set(event.stage, (texts.get(event.stage) ?? "") + event.text);
      if (event.type === "stage-end") {
        ends.push(event.stage);
        expect(texts.get(event.stage) ?? "").toBe(event.text);
      }
    }
    const { note, pick } = await run.result;
    expect(texts.get("note")).toBe(note.text);
    expect(texts.get("pick") ?? "").toBe(pick.text);
    expect(ends[0]).toBe("note");
  });

  test("a resumed run can be saved again, and so on", async () => {
    const model = await load();
    const chain = manySteps(model);
    const expected = outcome(await chain.run(inputs).result);
    const path = join(folder, "again");
    await savedAt(chain.run(inputs), 10, path);
    for (let turn = 0; turn < 20; turn++) {
      const next = chain.resume(path);
      await next.resumed;
      if (!(await savedAt(next, 12 + 5 * turn, path))) break;
    }
    const last = chain.resume(path);
    expect(outcome(await last.result)).toEqual(expected);
  });

  test("the run that was saved goes on and is not changed by it", async () => {
    const model = await load();
    const chain = manySteps(model);
    const expected = outcome(await chain.run(inputs).result);
    const run = chain.run(inputs);
    const saves: Promise<unknown>[] = [];
    let events = 0;
    for await (const _ of run)
      if (events++ % 9 === 0) saves.push(run.snapshot(join(folder, `beside-${events}`)));
    expect(outcome(await run.result)).toEqual(expected);
    await Promise.all(saves);
    expect((await failure(run.snapshot(join(folder, "late")))).code).toBe("CLOSED");
    const last = chain.resume(join(folder, `beside-${9 * (saves.length - 1) + 1}`));
    expect(outcome(await last.result)).toEqual(expected);
    promptsOnly(model);
  });

  test("before anything has run, and from a stream", async () => {
    const model = await load();
    const chain = manySteps(model);
    const expected = outcome(await chain.run(inputs).result);
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const run = chain.run(inputs);
    const saving = run.snapshot(writable);
    const resumed = chain.resume(readable);
    await saving;
    expect(outcome(await resumed.result)).toEqual(expected);
    expect(outcome(await run.result)).toEqual(expected);
  });

  test("an abort while it is restored frees everything", async () => {
    const model = await load();
    const chain = manySteps(model);
    const path = join(folder, "abort");
    await savedAt(chain.run(inputs), 40, path);
    for (let turn = 0; turn < 30; turn += 3) {
      const stop = new AbortController();
      const run = chain.resume(path, { signal: stop.signal });
      const enough = () => stop.abort(new Error("enough"));
      if (turn === 0) setTimeout(enough);
      let events = 0;
      const reading = (async () => {
        for await (const _ of run) if (++events === turn) enough();
      })();
      await expect(run.result).rejects.toThrow("enough");
      await reading.catch(() => {});
      await vi.waitFor(() => promptsOnly(model)); // freed when the engine's turn is over
    }
  });
});

describe("what is not this run", () => {
  test("another chain, another prompt, another model, a handle's snapshot", async () => {
    const model = await load();
    const chain = manySteps(model);
    const path = join(folder, "other");
    await savedAt(chain.run(inputs), 40, path);
    const tell = async (run: { result: Promise<unknown> }) => {
      const { code, facts } = await failure(run.result);
      return [code, facts.field];
    };
    const longer = chain.stage("more", free);
    expect(await tell(longer.resume(path))).toEqual(["KV_MISMATCH", "chain"]);
    const changed = chain.withPrompts({ "debate.reason": soft("Another") });
    expect(await tell(changed.resume(path))).toEqual(["KV_MISMATCH", "prompt of debate.reason"]);
    const int8 = await load({ kvType: "int8" });
    expect(await tell(manySteps(int8).resume(path))).toEqual(["KV_MISMATCH", "kvType"]);
    const handle = model.cache.open();
    await handle.append("A text.");
    await handle.snapshot(join(folder, "handle"));
    expect(await tell(chain.resume(join(folder, "handle")))).toEqual(["KV_MISMATCH", "of"]);
    expect((await failure(model.cache.restore(path))).facts.field).toBe("of");
    expect((await failure(chain.resume(join(folder, "none")).result)).code).toBe("IO");
    await expect(chain.resume(join(folder, "none")).resumed).rejects.toThrow("cannot be opened");
    handle.close();
    promptsOnly(model);
  });

  test("damage is told by the block; with `partial` its rows are computed again", async () => {
    const model = await load();
    const chain = manySteps(model);
    const expected = outcome(await chain.run(inputs).result);
    const path = join(folder, "damage");
    await savedAt(chain.run(inputs), 60, path);
    const bytes = await readFile(path);
    const { blockBytes } = model.info;
    for (let back = 1; back * blockBytes < bytes.length - 8192; back += 2) {
      const damaged = Uint8Array.from(bytes);
      const at = bytes.length - back * blockBytes + 5;
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      const error = await failure(chain.resume(damaged).result);
      expect([error.code, error.facts.part]).toEqual(["SNAPSHOT_INVALID", "block"]);
      const run = chain.resume(damaged, { partial: true });
      const result = await run.result.catch((failed: BatonError) => failed);
      if (BatonError.isInstance(result)) expect(result.facts.block).toBe(0);
      else {
        expect(outcome(result)).toEqual(expected);
        expect((await run.resumed).rowsLeftOut).toBeGreaterThan(0);
      }
    }
    promptsOnly(model);
  });

  test("a record that somebody wrote is an error with a code, whatever is in it", async () => {
    const model = await load();
    const chain = manySteps(model);
    const path = join(folder, "written");
    await savedAt(chain.run(inputs), 60, path);
    const bytes = await readFile(path);
    type State = Record<string, unknown> & { entries: unknown[][]; segments: Record<string, unknown>[] };
    const values = [null, 5, "x", [], {}, [[]], [5], { a: 1 }, -1, 2 ** 40];
    const places: ((state: State, value: unknown) => void)[] = [
      (state, value) => Object.assign(state, { entries: value }),
      (state, value) => Object.assign(state, { segments: value }),
      (state, value) => Object.assign(state, { prompts: value }),
      (state, value) => Object.assign(state, { inputs: value }),
      (state, value) => Object.assign(state.segments[0] ?? {}, { reads: value }),
      (state, value) => Object.assign(state.segments[0] ?? {}, { id: value }),
      (state, value) => state.entries.unshift(value as unknown[]),
      (state, value) => state.entries.push(["end", "pick", { opener: [], result: value }]),
      (state, value) => state.entries.push(["part", "pick", { opener: [1], tokens: value }]),
      (state, value) => state.entries.push(["answer", value as string, value]),
    ];
    for (const place of places) {
      for (const value of values) {
        const change = ({ state }: { state: State }) => place(state, value);
        const run = chain.resume(await reheaded(model, bytes, change as (header: never) => void));
        const failed = await run.result.catch((error: unknown) => error);
        if (failed instanceof Error && !BatonError.isInstance(failed)) throw failed;
      }
    }
    promptsOnly(model);
  }, 60_000);

  test("with `partial`, a changed prompt leaves what came before it", async () => {
    const model = await load();
    const chain = manySteps(model);
    const path = join(folder, "changed");
    const voted = (event: ChainEvent) => event.type === "stage-start" && event.stage === "votes[0].vote";
    expect(await savedAt(chain.run(inputs), voted, path)).toBe(true);
    const asked = { questions: [] as string[] };
    const changed = manySteps(model, asked).withPrompts({
      pick: soft("Another"),
      "votes.vote": soft("Other"),
    });
    const expected = outcome(await changed.run(inputs).result);
    asked.questions.length = 0;
    const run = changed.resume(path, { partial: true });
    expect(outcome(await run.result)).toEqual(expected);
    expect(asked.questions).toEqual(["items"]);
    const report = await run.resumed;
    expect(report.fault).toContain("votes.vote");
    expect(report.stages).toBe(6); // note, two rounds of two, check
    promptsOnly(model);
  });
});
