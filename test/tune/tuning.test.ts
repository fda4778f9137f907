// SPDX-License-Identifier: Apache-2.0
// Everything that can be wrong with a training before its first step: stages, labels, data, sizes. Nothing is computed
// before all of it is known to be right.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model, PromptSource } from "../../src/index.js";
import { ContextLimitError, DataInvalidError, defineChain, OptionInvalidError } from "../../src/index.js";
import { exportPrompt } from "../../src/tune/export.js";
import type { TuningOptions } from "../../src/tune/tuning.js";
import { openTuning } from "../../src/tune/tuning.js";
import { failure } from "../chain/failure.js";
import { loadTiny, passages, question, rowsOf } from "../chain/tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

const chain = () =>
  defineChain(model)
    .input("question")
    .stage("compress")
    .stage("answer", { reads: ["compress"] })
    .stage("aside", { reads: ["question"] })
    .when(
      "retry",
      () => true,
      (inside) => inside.stage("again"),
    );

const record = { question, compress: "Eleven weeks.", answer: "eleven", aside: "No." };
const open = (options: Partial<TuningOptions>, definition = chain().definition) =>
  openTuning(definition, { stages: ["answer"], data: [record], ...options });
const open3 = (site: string, options: Partial<TuningOptions> = {}, definition = chain().definition) =>
  open({ stages: { [site]: { virtualTokens: 3 } }, ...options }, definition);

test("what a run needs: first values, items, what a checkpoint depends on", async () => {
  const tuning = await open({
    stages: { answer: { virtualTokens: 4 }, compress: { virtualTokens: 2, init: "random" } },
    dev: [record, record],
    seed: 7,
  });
  expect(tuning.task.parameters).toEqual([
    { stage: "compress", rows: 2, hidden: model.info.hidden }, // in the chain's order
    { stage: "answer", rows: 4, hidden: model.info.hidden },
  ]);
  expect(tuning.initial.map((one) => one.length)).toEqual([2, 4].map((rows) => rows * model.info.hidden));
  expect([tuning.items.length, tuning.dev.length]).toEqual([1, 2]);
  expect(tuning.identity.model).toBe(model.info.contentHash);
  const same = await open({ stages: ["answer", "compress"], dev: [record, record] });
  expect(same.identity).toEqual(tuning.identity);
  for (const changed of [
    { data: [{ ...record, answer: "twelve" }] },
    { dev: [record] },
    { labels: ["answer", "compress", "aside"].slice(0, 1) },
  ]) {
    const other = await open({ stages: ["answer", "compress"], dev: [record, record], ...changed });
    expect(other.identity).not.toEqual(tuning.identity);
  }
  // of prompts that are not trained those count that a label depends on
  const under = async (prompts: Record<string, PromptSource>) =>
    (await open({}, chain().withPrompts(prompts).definition)).identity.chain;
  expect(await under({ compress: { text: "x" } })).not.toBe(await under({ compress: { text: "y" } }));
  expect(await under({ aside: { text: "x" } })).toBe(await under({ aside: { text: "y" } }));
});

describe("prompts that are not there yet", () => {
  const nowhere = join(tmpdir(), "baton-no-such-prompt");

  test("are not asked for where no label depends on them: an earlier stage is tuned first", async () => {
    const unmade = chain().withPrompts({
      answer: nowhere,
      aside: nowhere,
      "retry.again": nowhere,
    }).definition;
    const tuning = await open({ stages: { compress: { virtualTokens: 3 } } }, unmade);
    const [item] = tuning.items;
    if (item === undefined) throw new Error("no item");
    const ready = await tuning.task.prepare(item);
    const { losses } = await tuning.task.loss([ready], tuning.initial, { gradient: true, scale: 1 });
    expect(losses[0]).toBeGreaterThan(0);
    tuning.task.release(ready);
    tuning.task.close();
  });

  test("that labels depend on are refused by name, and so is one that its own stage would begin as", async () => {
    const unmade = chain().withPrompts({ compress: nowhere, answer: nowhere }).definition;
    const begins = { answer: { init: { text: "x" } } };
    const read = await failure(open({ stages: begins }, unmade));
    expect(read).toMatchObject({ code: "PROMPT_INVALID", facts: { label: nowhere } });
    const own = await failure(open3("answer", {}, chain().withPrompts({ answer: nowhere }).definition));
    expect(own).toMatchObject({ code: "PROMPT_INVALID", facts: { label: nowhere, step: "answer" } });
    expect(own.message).toContain("say in `init` (--init) what it begins as");
    await open({ stages: begins }, chain().withPrompts({ answer: nowhere }).definition);
  });

  test("are needed where a later round reads what an earlier one wrote", async () => {
    const rounds = (options: { reads?: "question"[] }) =>
      defineChain(model)
        .input("question")
        .rounds("turns", (round) => round.stage("a", options).stage("b", { prompt: nowhere }), { max: 5 })
        .definition;
    const tuneA = (options: { reads?: "question"[] }) =>
      open(
        { stages: { "turns.a": { virtualTokens: 2 } }, data: [{ question, turns: [{ a: "x" }] }] },
        rounds(options),
      );
    expect(await failure(tuneA({}))).toMatchObject({ code: "PROMPT_INVALID", facts: { label: nowhere } });
    expect((await tuneA({ reads: ["question"] })).items.length).toBe(1);
  });
});

describe("options", () => {
  const cases: [string, Partial<TuningOptions>, string][] = [
    [
      "no stage of the chain",
      { stages: ["answr"] },
      '`stages` names "answr", which is no stage of the chain. Its stages are "compress", "answer", "aside", "retry.again"',
    ],
    ["an input", { stages: ["question"] }, "is no stage of the chain"],
    ["no stage at all", { stages: [] }, "`stages` names no stage to tune. Name some of compress, answer"],
    ["stages of another type", { stages: "answer" as never }, "`stages` is of type string"],
    [
      "an unknown method",
      { stages: { answer: { method: "lora" as never } } },
      'by the method "lora". There are: prompt',
    ],
    [
      "an unknown option of a stage",
      { stages: { answer: { tokens: 4 } as never } },
      "unknown option `tokens`. Known: method, virtualTokens, init",
    ],
    ["options of a stage that are none", { stages: { answer: 50 as never } }, "is to be tuned with 50"],
    ["unknown labels", { labels: ["judge"] }, '`labels` names "judge"'],
    ["no labels", { labels: [] }, "`labels` names no stage"],
    [
      "a stage that no label can depend on",
      { stages: ["answer", "aside"], labels: ["answer"] },
      'No label depends on stage "aside", which is to be tuned: no output of "answer" reads what it writes',
    ],
    [
      "labels that depend on no trained prompt",
      { labels: ["answer", "aside"] },
      'The output of "aside" depends on no trained prompt',
    ],
    [
      "fields that are no steps",
      { fields: { evidence: "compres" } },
      '"evidence" of the data is "compres", which is no step',
    ],
    ["bytes that are none", { frozenBytes: -1 }, "`frozenBytes` is -1, which must be a number of bytes"],
    ["a seed that is none", { seed: 0.5 }, "`seed` is 0.5"],
    [
      "more virtual tokens than the context",
      { stages: { answer: { virtualTokens: 10_000 } } },
      "`virtualTokens` 10000, which must be a whole number from 1 to 511",
    ],
  ];
  test.each(cases)("%s", async (_, options, what) => {
    const error = await failure(open(options));
    expect(error).toBeInstanceOf(OptionInvalidError);
    expect(error.message).toContain(what);
  });
});

describe("data", () => {
  const bad = (record: unknown): Partial<TuningOptions> => ({
    data: [{ ...chainRecord, ...(record as object) }],
  });
  const chainRecord = record;
  const cases: [string, Partial<TuningOptions>, string, string][] = [
    ["none", { data: [] }, "`data` has no record", ""],
    [
      "a record without the label",
      bad({ answer: undefined }),
      'data[0]: "answer" is missing, and "answer" is to be scored on it',
      "answer",
    ],
    [
      "without a text that is read",
      bad({ compress: null }),
      'data[0]: "compress" is missing, and "answer" reads it',
      "compress",
    ],
    ["a label of no tokens", bad({ answer: "" }), 'data[0]: "answer" is empty', "answer"],
    ["a label of another type", bad({ answer: 7 }), 'data[0]: "answer" is of type number', "answer"],
    ["a bad record among dev data", { dev: [record, {}] }, 'dev[1]: "answer" is missing', "answer"],
  ];
  test.each(cases)("%s", async (_, options, what, field) => {
    const error = await failure(open3("answer", options));
    expect(error).toBeInstanceOf(DataInvalidError);
    expect(error.message).toContain(what);
    if (field !== "") expect(error.facts).toMatchObject({ field });
  });

  test("renamed fields are named as the data has them", async () => {
    const { compress, ...rest } = record;
    const renamed = { ...rest, evidence: compress };
    await open3("answer", { data: [renamed], fields: { evidence: "compress" } });
    const error = await failure(open3("answer", { data: [rest], fields: { evidence: "compress" } }));
    expect(error.message).toContain('data[0]: "evidence" is missing, and "answer" reads it');
    expect(error.message).toMatch(/If the data call it otherwise, say so in `fields`/);
  });

  test("in which a trained stage never runs", async () => {
    const both = { stages: { answer: { virtualTokens: 2 }, "retry.again": { virtualTokens: 2 } } };
    const error = await failure(open(both));
    expect(error).toBeInstanceOf(DataInvalidError);
    expect(error.message).toContain('No label in 1 records depends on stage "retry.again"');
    const ran = { ...record, retry: { again: "Yes." } };
    expect((await open({ ...both, data: [record, ran] })).items.length).toBe(2);
    // alone, a record without it has nothing to learn
    const alone = await failure(open3("retry.again", { data: [ran, record] }));
    expect(alone).toBeInstanceOf(DataInvalidError);
    expect(alone.message).toContain('data[1] has no text for "retry.again" that depends on a trained prompt');
  });

  test("a frame longer than the context: record, segment, lengths and excess", async () => {
    const long = `${passages} `.repeat(12);
    const least = rowsOf(model, long);
    expect(least).toBeGreaterThan(model.info.contextLength);
    const error = await failure(open3("answer", { data: [record, { ...record, question: long }] }));
    expect(error).toBeInstanceOf(ContextLimitError);
    const over = least - model.info.contextLength;
    expect(error.message).toContain(
      `data[1]: the frame of "question" needs ${least} positions (own rows ${least})`,
    );
    expect(error.facts).toMatchObject({ index: 1, step: "question", needed: least, limit: 512, over });

    const tokens = { stages: { answer: { virtualTokens: 505 } } };
    const prompt = await failure(open(tokens));
    expect(prompt).toBeInstanceOf(ContextLimitError);
    expect(prompt.message).toMatch(
      /the frame of "answer" needs \d+ positions \(prompt of answer 505, compress \d+/,
    );
  });

  test("an abort ends the checking", async () => {
    const controller = new AbortController();
    async function* endless() {
      for (let at = 0; ; at++) {
        if (at === 5) controller.abort("enough");
        yield record;
      }
    }
    await expect(open3("answer", { data: endless(), signal: controller.signal })).rejects.toBe("enough");
    await expect(open3("answer", { signal: AbortSignal.abort("before") })).rejects.toBe("before");
  });

  test("nothing is computed by any of this", async () => {
    const { rowsComputed } = model.cache.stats();
    await open3("answer", { data: Array(5).fill(record) });
    expect(model.cache.stats().rowsComputed).toBe(rowsComputed);
    expect(model.stats().segments).toBe(0);
  });
});

test("a prompt that stays as it is, and is used otherwise than it was trained, is warned of", async () => {
  const folder = await mkdtemp(join(tmpdir(), "baton-contract-"));
  try {
    const first = await open3("compress");
    const [rows] = first.initial;
    const [contract] = await first.task.contracts(first.initial);
    if (rows === undefined || contract === undefined) throw new Error("nothing trained");
    const init = { kind: "RANDOM" } as const;
    await exportPrompt(folder, { rows, count: 3, model: model.info, baseModel: "tiny", init, contract });

    const same = chain().withPrompts({ compress: folder }).definition;
    expect((await openTuning(same, { stages: ["answer"], data: [record] })).warnings).toEqual([]);
    const otherwise = defineChain(model)
      .input("question")
      .stage("compress", { prompt: folder, opener: "Short:" })
      .stage("answer", { reads: ["compress"] }).definition;
    const { warnings } = await openTuning(otherwise, { stages: ["answer"], data: [record] });
    expect(warnings.length).toBe(1);
    expect(warnings[0]).toContain(
      `Stage "compress" uses the prompt ${folder} otherwise than it was trained (opener:`,
    );
    // it is what is trained now
    expect((await openTuning(otherwise, { stages: ["compress"], data: [record] })).warnings).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe("explain", () => {
  test("rows of each kind, bytes, and operations by the formulas", async () => {
    const tuning = await open3("answer", { data: [record, { ...record, compress: `${passages} More.` }] });
    const found = tuning.explain(2);
    const { layers, hidden, heads, kvHeads, headDim, ffn, vocab, blockBytes, blockRows } = model.info;
    const weights =
      layers * (2 * hidden * heads * headDim + 2 * hidden * kvHeads * headDim + 3 * hidden * ffn);
    const perKey = 4 * layers * heads * headDim;
    const q = rowsOf(model, question);
    const a = rowsOf(model, " eleven") + 1; // BOS opens
    const texts = [" Eleven weeks.", ` ${passages} More.`].map((text) => rowsOf(model, text) + 1);
    const half = (n: number) => (n * (n + 1)) / 2;
    let epoch = weights * 4 * 3 + perKey * 3 * half(3);
    let frozen = 0;
    let recompute = 0;
    for (const c of texts) {
      const keys = a * (3 + c) + half(a);
      const live = a * 3 + half(a);
      epoch += weights * 4 * a + perKey * (2 * keys + live) + 4 * hidden * vocab * a;
      frozen += weights * 2 * (q + c) + perKey * (half(q) + c * q + half(c));
      recompute += weights * 4 * (3 + a + q + c) + 4 * hidden * vocab * a;
      recompute += 3 * perKey * (half(3) + keys + half(q) + c * q + half(c));
    }
    expect(found.rows).toEqual({
      live: 2 * a,
      frozen: 2 * q + (texts[0] ?? 0) + (texts[1] ?? 0),
      unneeded: 2 * (rowsOf(model, " No.") + 1),
      labels: 2 * a,
    });
    expect(found.flop.epoch).toBeCloseTo(epoch, -2);
    expect(found.flop.frozen).toBeCloseTo(frozen, -2);
    expect(found.flop.recompute).toBeCloseTo(recompute, -2);
    // the answer reads what the compressor wrote, not the question
    const blocks = texts.map((c) => Math.ceil(c / blockRows));
    expect(found.frozenBytes).toBe(((blocks[0] ?? 0) + (blocks[1] ?? 0)) * blockBytes);
    expect(found.largestBytes).toBe(((blocks[1] ?? 0) + Math.ceil(q / blockRows)) * blockBytes);
    expect(found.segments).toEqual([
      { segment: "answer", kind: "live", rows: 2 * a, labels: 2 * a },
      { segment: "question", kind: "frozen", rows: 2 * q, labels: 0 },
      { segment: "compress", kind: "frozen", rows: (texts[0] ?? 0) + (texts[1] ?? 0), labels: 0 },
    ]);
    expect(String(found)).toMatch(
      /^2 items, 2 a step\n.*\ntrained {2}prompt of answer {2,}3 {2}once a step\n/,
    );
    expect(String(found)).toContain("times as much");
  });
});
