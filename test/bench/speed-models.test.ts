// SPDX-License-Identifier: Apache-2.0
// Models for speed: files that our reader takes in every weight type, with numbers that a forward survives.
import { mkdtempSync, rmSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { modelFile, writeModel } from "../../bench/models/model-files.js";
import { halfBits, randomStretch } from "../../bench/models/random-weights.js";
import { type Shape, shapes, tensorBytes, tensorsOf, weightTypeNames } from "../../bench/models/shapes.js";
import { makeVocabulary } from "../../bench/models/vocabulary.js";
import { loadModel } from "../../src/index.js";

const folder = mkdtempSync(path.join(os.tmpdir(), "baton-speed-models-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tiny: Shape = {
  ...{ layers: 2, hidden: 64, ffn: 192, heads: 4, kvHeads: 2, headDim: 32 },
  ...{ vocab: 1024, contextLength: 512, ropeTheta: 10_000 },
};

describe("speed models", () => {
  it.each(weightTypeNames)("are opened in %s, and their logits are numbers that differ", async (type) => {
    const file = path.join(folder, `${type}.gguf`);
    writeModel(file, "tiny", tiny, type);
    const model = await loadModel(file, { threads: 1 });
    expect(model.info).toMatchObject({ layers: 2, hidden: 64, vocab: 1024, weightType: type });
    const segment = model.engine.createSegment({ kind: "input", start: 0, reads: [] });
    const logits: number[] = [];
    const tokens = Int32Array.from([300, 301, 302, 5]);
    await model.engine.run(
      { appends: [{ segment, tokens }], logits: "last" },
      { onLogits: (_, data) => logits.push(...data) },
    );
    expect(logits).toHaveLength(1024);
    expect(logits.every(Number.isFinite)).toBe(true);
    expect(Math.max(...logits) - Math.min(...logits)).toBeGreaterThan(0.01);
    const [id] = model.tokenizer.encode("et", { specials: false });
    expect(model.tokenizer.decode([id as number])).toBe("et");
    await model.close();
  });

  it("have the bytes of the published shapes", () => {
    const bytes = (name: keyof typeof shapes, type: (typeof weightTypeNames)[number]) =>
      tensorsOf(shapes[name], type).reduce((sum, one) => sum + tensorBytes(one), 0) / 1e6;
    expect(bytes("smollm2-135m", "Q8_0")).toBeCloseTo(143, 0);
    expect(bytes("smollm2-135m", "Q4_1")).toBeCloseTo(84.2, 0);
    expect(bytes("llama32-1b", "Q4_0")).toBeCloseTo(695.4, 0);
  });

  it("are made once", () => {
    const one = { shape: "smollm2-135m", type: "Q4_1" } as const;
    writeModel(path.join(folder, "smollm2-135m-Q4_1.gguf"), "tiny", tiny, "Q4_1");
    const { size } = statSync(modelFile(folder, one, () => expect.unreachable("it is there")));
    expect(size).toBeLessThan(1e6);
  });
});

describe("what they are made of", () => {
  it("is the same in every run and has no two equal blocks in a row", () => {
    for (const type of weightTypeNames) {
      const bytes = randomStretch(type, 0.05, 3);
      expect(bytes.equals(randomStretch(type, 0.05, 3))).toBe(true);
      expect(bytes.subarray(0, 64).equals(bytes.subarray(64, 128))).toBe(false);
    }
  });

  it("has halves as IEEE 754 has them", () => {
    expect([1, -2, 0.5, 65504, 0.099975586].map(halfBits)).toEqual([0x3c00, 0xc000, 0x3800, 0x7bff, 0x2e66]);
    expect(() => halfBits(1e-6)).toThrow(RangeError);
  });

  it("has merges that lead to every token beyond the bytes", () => {
    const { tokens, merges, kinds } = makeVocabulary(40_000);
    expect(new Set(tokens).size).toBe(40_000);
    expect(kinds.slice(0, 4)).toEqual([3, 3, 3, 1]);
    const parts = new Set(tokens);
    for (const [at, merge] of merges.entries()) {
      const [left = "", right = ""] = merge.split(" ");
      expect(left + right).toBe(tokens[259 + at]);
      expect(parts.has(left) && parts.has(right)).toBe(true);
    }
  });
});
