// SPDX-License-Identifier: Apache-2.0
// The task of a chain up to the step that crosses to the engine: labels row by row, frozen rows computed once and kept
// within bytes, unneeded ones never, and nothing left behind by an abort or a failure.

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { ChainDefinition } from "../../src/chain/definition.js";
import type { Model } from "../../src/index.js";
import { CacheBudgetError, ChainInvalidError, defineChain, InternalError } from "../../src/index.js";
import type { NativeTrainSegment } from "../../src/native/types.js";
import type { DataItem } from "../../src/tune/data.js";
import type { PreparedItem } from "../../src/tune/task.js";
import type { Tuning, TuningOptions } from "../../src/tune/tuning.js";
import { openTuning } from "../../src/tune/tuning.js";
import { failure } from "../chain/failure.js";
import { loadTiny, passages, question, rowsOf, until } from "../chain/tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

const three = { init: { text: "x" }, virtualTokens: 3 } as const;

/** compress (a prompt of 5 rows) -> answer (none yet). */
const chain = (on = model) =>
  defineChain(on)
    .input("question")
    .input("passages")
    .stage("compress", { prompt: { text: "c", virtualTokens: 5 } })
    .stage("answer", { reads: ["question", "compress"], opener: "Answer:" });

const record = { question, passages, compress: "Eleven weeks.", answer: "eleven weeks" };
const records = (count: number) =>
  Array.from({ length: count }, (_, at) => ({ ...record, question: `${at} ${question}` }));

/** Lets go of what a test has opened and prepared. */
const ends: (() => void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) end();
  await until(() => model.cache.stats().bytes.inputs === 0);
  expect(model.cache.stats().bytes).toMatchObject({ inputs: 0, outputs: 0 });
});

async function tune(definition: ChainDefinition, options: TuningOptions): Promise<Tuning> {
  const tuning = await openTuning(definition, options);
  ends.push(() => tuning.task.close());
  return tuning;
}

const open = (options: Partial<TuningOptions> = {}, on = model): Promise<Tuning> =>
  tune(chain(on).definition, { stages: { answer: three }, data: [record], ...options });

async function prepare({ task, items }: Tuning, index = 0): Promise<PreparedItem> {
  const item = await task.prepare(items[index] as DataItem);
  ends.push(() => task.release(item));
  return item;
}

const stepOf = ({ task, initial }: Tuning, items: PreparedItem[]) =>
  task.step(items, initial, { gradient: true, scale: 0.5 }).step;

function segmentsOf(tuning: Tuning, item: PreparedItem): NativeTrainSegment[] {
  const [found] = stepOf(tuning, [item]).items;
  if (found === undefined) throw new Error("no item");
  return found.segments;
}

describe("the step of an item", () => {
  test("training the answer: its rows alone, labelled from the opener's last row to the closing token", async () => {
    const tuning = await open();
    const item = await prepare(tuning);
    const q = rowsOf(model, question);
    const p = rowsOf(model, passages);
    const opener = [...model.tokenizer.encode("Answer:", { specials: true })];
    const gold = [...model.tokenizer.encode(" eleven weeks", { specials: false })];
    const e = rowsOf(model, " Eleven weeks.") + 1;
    expect(item.rows).toEqual({
      live: opener.length + gold.length,
      frozen: q + p + e,
      unneeded: 0,
      labels: gold.length + 1,
    });
    expect(item.origin).toBe("data[0]");
    const { prompts, items, gradient } = stepOf(tuning, [item]);
    expect(gradient).toBe(true);
    expect(prompts).toEqual([{ start: -3, rows: tuning.initial[0] }]);
    expect(items.length).toBe(1);
    expect(items[0]?.scale).toBe(0.5);
    const [segment, ...more] = segmentsOf(tuning, item);
    expect(more).toEqual([]);
    expect(segment?.kind).toBe("output");
    expect(segment?.start).toBe(q + e);
    expect([...(segment?.tokens ?? [])]).toEqual([...opener, ...gold]);
    const unscored = Array(opener.length - 1).fill(-1);
    expect([...(segment?.labels ?? [])]).toEqual([...unscored, ...gold, model.tokenizer.closers[0]]);
    expect(segment?.reads.map(({ prompt, rows, shift }) => ({ prompt, rows, shift }))).toEqual([
      { prompt: 0, rows: 3, shift: 0 },
      { prompt: undefined, rows: q, shift: 0 },
      { prompt: undefined, rows: e, shift: -p },
    ]);
    tuning.task.release(item);
  });

  test("training the compressor: the answer is unneeded, its text need not be there", async () => {
    const tuning = await open({ stages: { compress: three } });
    const item = await prepare(tuning);
    expect(item.rows.unneeded).toBe(rowsOf(model, "Answer:") + rowsOf(model, " eleven weeks"));
    const { answer, ...without } = record;
    expect(answer).toBeTypeOf("string");
    const other = await open({ stages: { compress: three }, data: [without] });
    expect((await prepare(other)).rows).toEqual({ ...item.rows, unneeded: 0 });
  });

  test("both jointly: live rows read live rows; scored for the answer alone, the compressor's are not scored", async () => {
    const stages = { compress: three, answer: { ...three, virtualTokens: 4 } };
    const tuning = await open({ stages });
    const item = await prepare(tuning);
    expect(stepOf(tuning, [item]).prompts.map(({ start }) => start)).toEqual([-3, -4]);
    const [compress, answer] = segmentsOf(tuning, item);
    expect(compress?.reads.map(({ prompt }) => prompt)).toEqual([0, undefined, undefined]);
    expect(answer?.reads.map(({ prompt, live }) => prompt ?? live)).toEqual([1, undefined, 0]);
    expect(compress?.labels.some((one) => one >= 0)).toBe(true);

    const scored = await open({ stages, labels: ["answer"] });
    const found = segmentsOf(scored, await prepare(scored));
    expect(found.map(({ labels }) => labels.some((one) => one >= 0))).toEqual([false, true]);
  });

  test("a prompt that no item of the step depends on is not in it", async () => {
    const rounds = defineChain(model)
      .input("question")
      .rounds(
        "turns",
        (round) =>
          round.stage("reason").when(
            "more",
            () => true,
            (inside) => inside.stage("recall"),
          ),
        { max: 3 },
      );
    const turn = (stage: string) => ({ stage, text: "So it is." });
    const tuning = await tune(rounds.definition, {
      stages: { "turns.reason": three, "turns.more.recall": { ...three, virtualTokens: 2 } },
      data: [
        { question, turns: [turn("reason")] },
        { question, turns: [turn("reason"), turn("recall"), turn("reason")] },
      ],
    });
    const [one, two] = [await prepare(tuning, 0), await prepare(tuning, 1)];
    const alone = tuning.task.step([one], tuning.initial, { gradient: true, scale: 1 });
    expect(alone.trained).toEqual(["turns.reason"]);
    expect(alone.step.prompts.length).toBe(1);
    const both = tuning.task.step([one, two], tuning.initial, { gradient: true, scale: 1 });
    expect(both.trained).toEqual(["turns.reason", "turns.more.recall"]);
    const [reason0, recall0, reason1] = segmentsOf(tuning, two);
    expect(recall0?.reads.map(({ prompt, live }) => prompt ?? live)).toEqual([1, undefined, 0]);
    expect(reason1?.reads.map(({ prompt, live }) => prompt ?? live)).toEqual([0, undefined, 0, 1]);
    for (const segment of [reason0, recall0, reason1]) {
      expect(segment?.labels.at(-1)).toBe(model.tokenizer.closers[0]);
      expect(segment?.labels[0]).toBe(segment?.tokens[1]); // the opener's one row
    }
  });

  test("without an opener the last own input's last row predicts the first token", async () => {
    const own = (options: object) =>
      defineChain(model)
        .input("a")
        .input("b", options)
        .stage("answer", { own: ["a", "b"] }).definition;
    const data = [{ a: "one", b: "two", answer: "three" }];
    const tuning = await tune(own({}), { stages: { answer: three }, data });
    const [a, b, answer] = segmentsOf(tuning, await prepare(tuning));
    const gold = [...model.tokenizer.encode(" three", { specials: false })];
    expect(a?.labels.every((one) => one === -1)).toBe(true);
    expect([...(b?.labels ?? [])]).toEqual([...Array((b?.tokens.length ?? 0) - 1).fill(-1), gold[0]]);
    expect([...(answer?.labels ?? [])]).toEqual([...gold.slice(1), model.tokenizer.closers[0]]);

    const alone = await failure(tune(own({ alone: true }), { stages: { answer: three }, data }));
    expect(alone).toBeInstanceOf(ChainInvalidError);
    expect(alone.message).toContain('the rows of its last own input "b", from which its first token comes');
  });

  test("closers of the stage: the first is the label", async () => {
    const special = "<|im_end|>";
    const steps = defineChain(model)
      .input("q")
      .stage("a", { closers: [special, "<|endoftext|>"] }).definition;
    const tuning = await tune(steps, { stages: { a: three }, data: [{ q: "one", a: "two" }] });
    const [segment] = segmentsOf(tuning, await prepare(tuning));
    expect(segment?.labels.at(-1)).toBe(model.tokenizer.specialId(special));
  });
});

describe("frozen rows", () => {
  const rowsComputed = () => model.cache.stats().rowsComputed;

  test("are computed once; unneeded ones never; kept are those that live rows read", async () => {
    const tuning = await open({ stages: { compress: three } });
    const before = rowsComputed();
    const item = await prepare(tuning);
    expect(item.reused).toBe(0);
    expect(rowsComputed() - before).toBe(item.rows.frozen); // no answer
    tuning.task.release(item);
    const again = await prepare(tuning);
    expect(again.reused).toBe(item.rows.frozen);
    expect(rowsComputed() - before).toBe(item.rows.frozen);
    tuning.task.release(again);

    const answer = await open();
    tuning.task.close();
    const { rows } = await prepare(answer);
    const { blockRows } = model.stats();
    expect(rows.frozen).toBeGreaterThan(3 * blockRows);
    expect(model.cache.stats().bytes.inputs).toBe(
      Math.ceil(rowsOf(model, question) / blockRows) * model.info.blockBytes,
    );
  });

  test("are found again by their content where the model keeps an index", async () => {
    const indexed = await loadTiny({ indexBytes: 4 << 20 });
    const tuning = await open({ frozenBytes: 0 }, indexed);
    const first = await prepare(tuning);
    expect(first.reused).toBe(0);
    tuning.task.release(first);
    await until(() => indexed.cache.stats().bytes.inputs === 0);
    const second = await prepare(tuning);
    expect(second.reused).toBe(second.rows.frozen);
    await indexed.close();
  });

  test("stay within their bytes: what is there stays, the rest is computed again", async () => {
    const data = records(6);
    const probe = await open({ data });
    const { frozenBytes } = probe.explain(1);
    const base = model.stats().usedBytes + model.info.blockBytes; // of other tests, and the compressor's prompt
    const tuning = await open({ data, frozenBytes: frozenBytes / 2 });
    const epoch = async () => {
      const reused: boolean[] = [];
      for (const one of tuning.items) {
        const item = await tuning.task.prepare(one);
        reused.push(item.reused > 0);
        tuning.task.release(item);
        expect(model.stats().usedBytes).toBeLessThanOrEqual(base + frozenBytes / 2);
      }
      return reused;
    };
    expect(await epoch()).toEqual(Array(6).fill(false));
    expect(await epoch()).toEqual([true, true, true, false, false, false]);
    expect((await epoch()).filter((one) => one).length).toBe(3);
  });

  test("go when the pool has no room for a step, but never those that are held", async () => {
    const data = records(60);
    const small = await loadTiny({ cacheBytes: 40 * model.info.blockBytes });
    const tuning = await open({ data, frozenBytes: 1e9 }, small);
    for (const one of tuning.items) tuning.task.release(await tuning.task.prepare(one));
    const held: PreparedItem[] = [];
    const error = await failure(
      (async () => {
        for (const [index] of tuning.items.entries()) held.push(await prepare(tuning, index));
      })(),
    );
    expect(error).toBeInstanceOf(CacheBudgetError);
    expect(held.length).toBeGreaterThan(2);
    for (const one of held) tuning.task.release(one);
    tuning.task.release(await prepare(tuning, 59));
    tuning.task.close();
    await until(() => small.stats().segments === 1); // the prompt
    expect(small.stats().segments).toBe(1);
    await small.close();
  });

  test("of one item wanted twice at once are computed once, and held until both let go", async () => {
    const tuning = await open({ frozenBytes: 0 });
    const before = rowsComputed();
    const [a, b] = await Promise.all([prepare(tuning), prepare(tuning)]);
    expect(rowsComputed() - before).toBe(a.rows.frozen);
    expect([a.reused, b.reused].sort((x, y) => x - y)).toEqual([0, a.rows.frozen]);
    tuning.task.release(a);
    tuning.task.release(a); // once is enough
    expect(stepOf(tuning, [b]).items.length).toBe(1);
    tuning.task.release(b);
    expect(() => stepOf(tuning, [b])).toThrow(InternalError);
  });
});

describe("nothing is left behind", () => {
  test("by an abort at any moment of the preparation", async () => {
    const fresh = await loadTiny({ maxBatchRows: 4 });
    const tuning = await open({ data: records(2) }, fresh);
    const [item] = tuning.items;
    if (item === undefined) throw new Error("no item");
    const reason = new Error("enough");
    for (let turns = 0; turns < 40; turns++) {
      const controller = new AbortController();
      const preparing = tuning.task.prepare(item, controller.signal);
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
      controller.abort(reason);
      const end = await preparing.catch((error: unknown) => error);
      if (end !== reason) tuning.task.release(end as PreparedItem);
    }
    tuning.task.close();
    await until(() => fresh.stats().segments <= 1);
    expect(fresh.stats().segments).toBeLessThanOrEqual(1); // the prompt of the model
    await fresh.close();
  });

  test("by an end with items in hand", async () => {
    const fresh = await loadTiny();
    const tuning = await open({}, fresh);
    const item = await prepare(tuning);
    tuning.task.close();
    expect(fresh.stats().segments).toBeGreaterThan(1);
    tuning.task.release(item);
    await until(() => fresh.stats().segments === 1);
    expect(fresh.stats().segments).toBe(1);
    await fresh.close();
  });
});
