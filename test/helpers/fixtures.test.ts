// SPDX-License-Identifier: Apache-2.0
// The measures that every comparison with a reference rests on, and that the committed fixtures are what the index says.

import { describe, expect, it } from "vitest";
import {
  klDivergence,
  loadArrays,
  loadFacts,
  type Matrix,
  readSafetensors,
  relativeL2,
  relativeL2Rows,
  takeColumns,
} from "./fixtures.js";

function matrix(rows: number, columns: number, values: number[]): Matrix {
  return { rows, columns, data: Float32Array.from(values) };
}

function safetensors(header: object, data: Uint8Array): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}

describe("readSafetensors", () => {
  const bytes = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
  const good = { a: { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] } };

  it("gives the tensor by name, type and rank", () => {
    const arrays = readSafetensors(safetensors(good, bytes), "x");
    expect(arrays.matrix("a")).toEqual(matrix(2, 2, [1, 2, 3, 4]));
    expect(() => arrays.ints("a")).toThrow(/is F32, not I32/);
    expect(() => arrays.floats("b")).toThrow(/no tensor b; it has a/);
  });

  it.each([
    [
      "a span that is not the shape's",
      { a: { dtype: "F32", shape: [2, 3], data_offsets: [0, 16] } },
      /not 24/,
    ],
    ["bytes left over", { a: { dtype: "F32", shape: [3], data_offsets: [0, 12] } }, /end at 12, data at 16/],
    ["a hole", { a: { dtype: "F32", shape: [3], data_offsets: [4, 16] } }, /hole at 0/],
    ["another type", { a: { dtype: "F16", shape: [8], data_offsets: [0, 16] } }, /type F16/],
  ])("refuses %s", (_, header, message) => {
    expect(() => readSafetensors(safetensors(header, bytes), "x")).toThrow(message);
  });

  it("refuses a header longer than the file", () => {
    expect(() => readSafetensors(safetensors(good, bytes).subarray(0, 20), "x")).toThrow(/exceeds the file/);
  });
});

describe("relativeL2", () => {
  it("is the distance over the reference's length, row by row", () => {
    const rows = relativeL2Rows(matrix(2, 2, [3, 4, 0, 1]), matrix(2, 2, [3, 4, 0, 2]));
    expect(rows).toEqual([0, 0.5]);
    expect(relativeL2(matrix(2, 2, [3, 4, 0, 1]), matrix(2, 2, [3, 4, 0, 2]))).toBe(0.5);
  });

  it("throws for NaN, a zero row and another shape instead of passing", () => {
    expect(() => relativeL2(matrix(1, 2, [Number.NaN, 1]), matrix(1, 2, [1, 1]))).toThrow(/finite/);
    expect(() => relativeL2(matrix(1, 2, [0, 0]), matrix(1, 2, [0, 0]))).toThrow(/finite/);
    expect(() => relativeL2(matrix(1, 2, [1, 1]), matrix(2, 1, [1, 1]))).toThrow(/compared/);
  });

  it("compares the kept columns of full rows", () => {
    const full = Float32Array.of(1, 2, 3, 4, 5, 6);
    expect(takeColumns(full, 3, Int32Array.of(2, 0))).toEqual(matrix(2, 2, [3, 1, 6, 4]));
    expect(() => takeColumns(full, 3, Int32Array.of(3))).toThrow(/column 3 of 3/);
  });
});

describe("klDivergence", () => {
  const logits = Float32Array.of(Math.log(0.5), Math.log(0.25), Math.log(0.125), Math.log(0.125));

  it("is zero for the same distribution and the textbook sum for another", () => {
    const ids = Int32Array.of(0, 1);
    const same = klDivergence(ids, Float32Array.of(Math.log(0.5), Math.log(0.25)), Math.log(0.25), logits);
    expect(same).toBeCloseTo(0, 6);
    const other = klDivergence(ids, Float32Array.of(Math.log(0.25), Math.log(0.25)), Math.log(0.5), logits);
    expect(other).toBeCloseTo(0.25 * Math.log(0.25 / 0.5) + 0.5 * Math.log(0.5 / 0.25), 6);
  });

  it("does not depend on a constant added to the logits", () => {
    const moved = logits.map((value) => value + 7);
    const args = [Int32Array.of(3), Float32Array.of(Math.log(0.5)), Math.log(0.5)] as const;
    expect(klDivergence(...args, moved)).toBeCloseTo(klDivergence(...args, logits), 5);
  });

  it("throws for NaN and for an id given twice", () => {
    const half = Float32Array.of(-1, -1);
    expect(() => klDivergence(Int32Array.of(1, 1), half, -1, logits)).toThrow(/twice/);
    const spoilt = Float32Array.of(0, Number.NaN, 0, 0);
    expect(() => klDivergence(Int32Array.of(0, 1), half, -1, spoilt)).toThrow(/NaN/);
  });
});

describe("the committed fixtures", () => {
  it.each([
    ["tiny-llama", { tokens: [40], "logits.q4_1": [40, 512] }],
    ["tiny-hf", { tokens: [40], logits: [40, 512] }],
    ["tiny-mixed", { tokens: [40], logits: [40, 512] }],
    ["smollm2-logits", { tokens: [208], columns: [1024], logits: [208, 1024], last: [49152] }],
    ["smollm2-greedy", { tokens: [8, 64], gaps: [8, 64] }],
    ["smollm2-distribution", { rows: [32], ids: [32, 1024], logprobs: [32, 1024], tail: [32] }],
    ["fthss-chain", { "contiguous.O_B": [13, 1024], "concatenated.O_A": [16, 1024] }],
    ["shifted-read", { "logits.after": [9, 1024], "tokens.read": [22] }],
    ["peft-prompt", { logits: [25, 1024], rows: [8, 576] }],
  ])("%s has the shapes of the index", (name, shapes) => {
    const arrays = loadArrays(name);
    for (const [tensor, shape] of Object.entries(shapes)) expect(arrays.shape(tensor)).toEqual(shape);
  });

  it("lumps the whole probability into top and tail", () => {
    const arrays = loadArrays("smollm2-distribution");
    const [top, tail] = [arrays.matrix("logprobs"), arrays.floats("tail")];
    for (let r = 0; r < top.rows; r++) {
      const row = top.data.subarray(r * top.columns, (r + 1) * top.columns);
      const sum = row.reduce((total, value) => total + Math.exp(value), Math.exp(tail[r] as number));
      expect(sum).toBeCloseTo(1, 5);
    }
  });

  it("keeps the two best logits apart at every greedy step", () => {
    const gaps = loadArrays("smollm2-greedy").floats("gaps");
    expect(Math.min(...gaps)).toBeGreaterThan(1e-3);
    expect(loadFacts<{ prompts: unknown[] }>("smollm2-greedy").prompts).toHaveLength(8);
  });
});
