// SPDX-License-Identifier: Apache-2.0
// Every family against transformers on a tiny random model of its own, in contexts longer than its window and with its
// rotary scaling at work; and the equalities of the method, which windows must not break. Bound: 1e-4 relative L2 of
// any row with exact dequantisation and f32 KV.

import { describe, expect, test } from "vitest";
import { defineChain, loadModel } from "../../src/index.js";
import type { EngineClient } from "../../src/native/engine-client.js";
import type { KvType, NativeModelOptions } from "../../src/native/types.js";
import { fixturePath, loadArrays, loadFacts, relativeL2, takeColumns } from "../helpers/fixtures.js";
import type { Way } from "./program.js";
import { amongOthers, expectSameBits, fixedProgram, inOneGo, writeProgram } from "./program.js";
import { logitsOfText, openFamily, openFolder } from "./support.js";

interface Facts {
  files: { file: string; logits: string; family: string; withoutDiffersBy?: number }[];
  window: number;
  hidden: number;
  vocab: number;
}

const bound = 1e-4;
const arrays = loadArrays("families");
const { files, window, hidden, vocab } = loadFacts<Facts>("families");

async function withFamily<T>(
  file: string,
  options: Partial<NativeModelOptions>,
  work: (engine: EngineClient) => Promise<T>,
): Promise<T> {
  const engine = await openFamily(file, options);
  try {
    return await work(engine);
  } finally {
    await engine.close();
  }
}

const tokens = arrays.ints("tokens");
const rows = arrays.ints("rows");

/** Relative L2 of the logits that the fixture has kept. */
async function errorOf(engine: EngineClient, logits: string): Promise<number> {
  const { data } = await logitsOfText(engine, tokens);
  const kept = new Float32Array(rows.length * vocab);
  rows.forEach((row, i) => {
    kept.set(data.subarray(row * vocab, (row + 1) * vocab), i * vocab);
  });
  return relativeL2(takeColumns(kept, vocab, arrays.ints("columns")), arrays.matrix(logits));
}

describe("logits of 300 rows against transformers", () => {
  test("reach far beyond the window, and beyond a piece of the cache", () => {
    expect(tokens.length).toBeGreaterThan(256 + window);
    expect(Math.max(...rows)).toBe(tokens.length - 1);
    expect(files.map(({ family }) => family)).toEqual(
      expect.arrayContaining(["llama", "qwen2", "qwen3", "gemma3"]),
    );
  });

  for (const { file, logits, family, withoutDiffersBy } of files) {
    test(file, async () => {
      await withFamily(file, {}, async (engine) => {
        expect(engine.info().family).toBe(family);
        expect(await errorOf(engine, logits)).toBeLessThanOrEqual(bound);
      });
      // What a reader that leaves the window or the scaling out would miss by.
      if (withoutDiffersBy !== undefined) expect(withoutDiffersBy).toBeGreaterThan(100 * bound);
    });
  }
});

// The same models as transformers saves them: config.json and safetensors.
describe("logits of a folder against transformers", () => {
  const { names } = loadFacts<{ names: string[] }>("families-hf");
  test("are of every family", () => expect(names).toEqual(["qwen2", "qwen3", "llama3", "mistral", "gemma3"]));

  for (const name of names) {
    test(name, async () => {
      const engine = await openFolder(fixturePath(`families-hf/${name}`));
      try {
        expect(engine.info().family).toBe(files.find(({ file }) => file === `${name}.gguf`)?.family);
        expect(await errorOf(engine, `logits.${name}`)).toBeLessThanOrEqual(bound);
      } finally {
        await engine.close();
      }
    });
  }
});

describe("the same bits", () => {
  const program = fixedProgram(hidden, vocab);
  const formats: [Partial<NativeModelOptions>, string][] = (["f32", "f16", "int8"] as KvType[]).map(
    (kvType) => [{ kvType }, kvType],
  );
  for (const { file } of files.filter((one) => !one.file.startsWith("llama3-"))) {
    for (const [options, name] of formats) {
      test(`${file}, KV ${name}: in one go = in pieces = batched, any number of threads`, async () => {
        const wanted = await withFamily(file, options, async (engine) => {
          const first = await writeProgram(engine, program, inOneGo);
          for (const size of [1, 7, 16]) {
            const way: Way = { pieces: [size], jobs: "each piece" };
            expectSameBits(await writeProgram(engine, program, way), first, `pieces of ${size}`);
          }
          const mixed: Way = { pieces: [1, 250, 5, 2, 17], jobs: "one" };
          const batched = await amongOthers(engine, () => writeProgram(engine, program, mixed));
          expectSameBits(batched, first, "batched with other jobs");
          return first;
        });
        for (const [threads, maxBatchRows] of [
          [1, 3],
          [2, 512],
          [3, 16],
        ] as const) {
          await withFamily(file, { ...options, threads, maxBatchRows }, async (engine) => {
            const what = `${threads} threads, ${maxBatchRows} rows a batch`;
            expectSameBits(await writeProgram(engine, program, { ...inOneGo, jobs: "one" }), wanted, what);
          });
        }
      });
    }
  }
});

// Through the front door: SentencePiece tables from the file, BOS and the space in front at frame position 0 only, and a
// second stage that reads what the first wrote through the window.
describe("a chain of texts", () => {
  for (const [file, addSpace] of [
    ["mistral.gguf", true],
    ["gemma3.gguf", false],
  ] as const) {
    test(file, async () => {
      const model = await loadModel(fixturePath(`families/${file}`), { threads: 1, batchInvariant: true });
      const { tokenizer } = model;
      expect(tokenizer).toMatchObject({ preTokenizer: "sentencepiece", addBos: true, addSpace });
      const text = "The harbour of Marsk freezes for eleven weeks a year, and the bread comes over the ice.";
      const define = (twice: boolean) => {
        const first = defineChain(model).input("text").stage("one", { opener: "\n", maxTokens: 20 });
        return twice ? first.stage("two", { opener: "\n", maxTokens: 20 }) : first;
      };
      const alone = await define(false).run({ text }).result;
      const both = await define(true).run({ text }).result;
      expect(both.one.tokens).toEqual(alone.one.tokens);
      expect(both.one.tokens.length).toBeGreaterThan(0);
      const rows = tokenizer.encode(text, { specials: false, atZero: true }).length;
      expect(rows).toBeGreaterThan(window);
      expect(alone.one.usage.rowsReused + alone.one.usage.rowsComputed).toBeGreaterThanOrEqual(rows + 1);
      await model.close();
    });
  }
});
