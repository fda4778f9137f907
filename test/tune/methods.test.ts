// SPDX-License-Identifier: Apache-2.0
// What soft rows are before the first step: a text's embeddings by PEFT's rule, tokens drawn from the vocabulary,
// normal numbers, rows trained before. Seeds decide, and nothing else.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model, PromptSource } from "../../src/index.js";
import { OptionInvalidError, PromptInvalidError } from "../../src/index.js";
import { exportPrompt } from "../../src/tune/export.js";
import type { InitialRows, PromptTuning } from "../../src/tune/methods/index.js";
import { methods } from "../../src/tune/methods/index.js";
import { Random, randomState } from "../../src/tune/random.js";
import { failure } from "../chain/failure.js";
import { loadTiny } from "../chain/tiny-model.js";
import { fixturePath } from "../helpers/fixtures.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

function initialise(
  options: PromptTuning,
  prompt: PromptSource | null = null,
  seed = 1,
): Promise<InitialRows> {
  const random = new Random(randomState(seed));
  return methods.prompt.initialise({ model, stage: "answer", prompt, random }, options);
}

const embeddings = (ids: ArrayLike<number>) => model.engine.tokenEmbeddings(Int32Array.from(ids));
const text = "Find the facts.";
const idsOf = (of: string) => [...model.tokenizer.encode(of, { specials: false })];

describe("a text", () => {
  test("is repeated and cut to the virtual tokens: 50 unless said otherwise", async () => {
    const ids = idsOf(text);
    const repeated = (count: number) =>
      Array.from({ length: count }, (_, at) => ids[at % ids.length] as number);
    for (const [options, rows] of [
      [{}, 50],
      [{ virtualTokens: 3 }, 3],
      [{ virtualTokens: 100 }, 100],
    ] as const) {
      const found = await initialise({ ...options, init: { text } });
      expect(found.rows).toBe(rows);
      expect(found.values).toEqual(embeddings(repeated(rows)));
    }
  });

  test("of the stage's own prompt is where the stage begins, with its number of tokens", async () => {
    expect((await initialise({}, { text })).rows).toBe(50);
    const seven = await initialise({}, { text, virtualTokens: 7 });
    expect(seven).toEqual(await initialise({ virtualTokens: 7, init: { text } }));
    expect((await initialise({ virtualTokens: 5 }, { text, virtualTokens: 7 })).rows).toBe(5);
  });

  test("without tokens is refused", async () => {
    expect(await failure(initialise({ init: { text: "" } }))).toBeInstanceOf(PromptInvalidError);
  });
});

describe("rows trained before", () => {
  const rows = (count: number) => Float32Array.from({ length: count * model.info.hidden }, (_, at) => at / 7);

  test("are taken as they are, and are copied", async () => {
    const given = rows(4);
    const found = await initialise({ init: { rows: given, count: 4 } });
    expect(found).toEqual({ rows: 4, values: given });
    expect(found.values).not.toBe(given);
    expect(await initialise({ virtualTokens: 4 }, { rows: given, count: 4 })).toEqual(found);
  });

  test("come from a PEFT folder, too, whose width must be the model's", async () => {
    const folder = mkdtempSync(join(tmpdir(), "baton-init-"));
    try {
      const { hidden, heads, layers, contentHash: hash } = model.info;
      const prompt = { rows: rows(4), count: 4, model: { hidden, heads, layers }, baseModel: "tiny" };
      const reads = { reads: [], own: [], format: [], opener: [1], closers: [2], lead: " " };
      const base = { contentHash: hash, weightType: "Q8_0" };
      const contract = { version: 1, layout: "frames", base, ...reads } as const;
      await exportPrompt(folder, { ...prompt, init: { kind: "RANDOM" }, contract });
      const taken = { rows: 4, values: rows(4) };
      expect(await initialise({ init: { checkpoint: folder } })).toEqual(taken);
      expect(await initialise({ virtualTokens: 4 }, folder)).toEqual(taken); // the stage's own prompt
      expect(await initialise({ init: { text } }, folder)).not.toEqual(taken);
    } finally {
      rmSync(folder, { recursive: true });
    }
    const other = await failure(initialise({ init: { checkpoint: fixturePath("peft-export/random") } }));
    expect(other).toBeInstanceOf(PromptInvalidError);
    expect(other.message).toContain("of 16 numbers, but the model's width is 64");
    const error = await failure(initialise({ init: { checkpoint: "/nowhere" } }));
    expect(error).toBeInstanceOf(PromptInvalidError);
    expect(error.message).toContain("does not exist");
  });

  test("of another number than asked for are refused with both", async () => {
    const error = await failure(initialise({ virtualTokens: 5, init: { rows: rows(4), count: 4 } }));
    expect(error).toBeInstanceOf(OptionInvalidError);
    expect(error.message).toContain("`virtualTokens` 5, which must be 4, the rows of");
  });
});

describe("chance", () => {
  const hidden = () => model.info.hidden;
  const rowAt = ({ values }: InitialRows, at: number) => values.subarray(at * hidden(), (at + 1) * hidden());

  test("of the vocabulary: tokens that have a text, where the stage has no prompt", async () => {
    const { offsets } = model.tokenBytes;
    const byRow = new Map<string, number>();
    for (let id = 0; id < model.info.vocab; id++) byRow.set(String(embeddings([id])), id);
    const found = await initialise({ virtualTokens: 300 });
    const ids = Array.from({ length: 300 }, (_, at) => byRow.get(String(rowAt(found, at))) as number);
    expect(ids.every((id) => (offsets[id + 1] as number) > (offsets[id] as number))).toBe(true);
    expect(new Set(ids).size).toBeGreaterThan(150); // of 512, by drawing with replacement about 226
    expect(await initialise({ virtualTokens: 300, init: "vocabulary" }, { text })).toEqual(found);
  });

  test("of normal numbers as wide as embeddings", async () => {
    const { rows, values } = await initialise({ virtualTokens: 400, init: "random" });
    expect(rows).toBe(400);
    const all = embeddings(Array.from({ length: model.info.vocab }, (_, id) => id));
    const deviation = (numbers: Float32Array) => {
      const mean = numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
      return Math.sqrt(numbers.reduce((sum, one) => sum + (one - mean) ** 2, 0) / numbers.length);
    };
    const wanted = deviation(all);
    expect(deviation(values) / wanted).toBeCloseTo(1, 1);
    // of a normal distribution 68.3 % lie within one deviation, 95.4 % within two
    const within = (times: number) =>
      values.reduce((count, one) => count + (Math.abs(one) < times * wanted ? 1 : 0), 0) / values.length;
    expect(within(1)).toBeCloseTo(0.683, 1.5);
    expect(within(2)).toBeCloseTo(0.954, 1.5);
  });

  test("is decided by the seed", async () => {
    for (const init of ["vocabulary", "random"] as const) {
      const [one, same, other] = await Promise.all([1, 1, 2].map((seed) => initialise({ init }, null, seed)));
      expect(one).toEqual(same);
      expect(one).not.toEqual(other);
    }
  });
});

test("virtual tokens are a number that leaves a row of the context", async () => {
  const most = model.info.contextLength - 1;
  for (const virtualTokens of [0, -1, 1.5, Number.NaN, most + 1]) {
    const error = await failure(initialise({ virtualTokens, init: "vocabulary" }));
    expect(error).toBeInstanceOf(OptionInvalidError);
    expect(error.message).toContain(
      `\`virtualTokens\` ${virtualTokens}, which must be a whole number from 1 to ${most}`,
    );
  }
  expect((await initialise({ virtualTokens: most })).rows).toBe(most);
  const rows = new Float32Array((most + 1) * model.info.hidden);
  const error = await failure(initialise({ init: { rows, count: most + 1 } }));
  expect(error.message).toContain(`of at most ${most} rows`);
  for (const init of ["text", 4, null]) {
    const unknown = await failure(initialise({ init: init as never }));
    expect(unknown).toBeInstanceOf(OptionInvalidError);
    expect(unknown.message).toContain('which must be "vocabulary", "random", { text }');
  }
});
