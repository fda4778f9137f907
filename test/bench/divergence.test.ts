// SPDX-License-Identifier: Apache-2.0
// The distance from a reference: the file that llama.cpp's perplexity tool reads as well, the figures from its rows, and
// what the tool prints.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { MissingData } from "../../bench/chains/data.js";
import { referenceFile, referenceTokens } from "../../bench/divergence/reference.js";
import { agreement, type Distribution, ReferenceFile } from "../../bench/divergence/reference-file.js";
import { readStatistics } from "../../bench/subjects/llama-perplexity.js";
import { klDivergence, logSoftmax } from "../helpers/fixtures.js";

const vocab = 5; // odd: rows are padded
const folder = mkdtempSync(path.join(os.tmpdir(), "baton-divergence-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** As rivals/reference.py encodes it. */
function encoded(logits: readonly number[]): Distribution {
  const most = Math.max(...logits);
  const low = Math.max(Math.min(...logits), most - 16);
  const step = (most - low) / 65535;
  const normalizer = most + Math.log(logits.reduce((sum, one) => sum + Math.exp(one - most), 0));
  const steps = logits.map((one) => Math.round((Math.max(one, low) - low) / step));
  return { step, least: low - normalizer, steps: Uint16Array.from(steps) };
}

const reference = [1.5, -2, 0.25, 3, -0.5];
const other = Float32Array.from([1.25, -1.5, 0.5, 2.5, -1]);

describe("agreement", () => {
  it("is the KL divergence over the whole vocabulary, to the resolution of the file", () => {
    // Its four first tokens, and the fifth as what remains.
    const logprobs = Float32Array.from(logSoftmax(Float32Array.from(reference)));
    const ids = Int32Array.from([0, 1, 2, 3]);
    const expected = klDivergence(ids, logprobs.subarray(0, 4), logprobs[4] as number, other);
    const { kl, sameTop } = agreement(encoded(reference), other);
    expect(kl).toBeCloseTo(expected, 4);
    expect(kl).toBeGreaterThan(0.01);
    expect(sameTop).toBe(true);
  });

  it("is nothing for the reference itself, and knows another likeliest token", () => {
    const itself = Float32Array.from(reference);
    expect(Math.abs(agreement(encoded(reference), itself).kl)).toBeLessThan(1e-3);
    expect(agreement(encoded(reference), Float32Array.from([9, 0, 0, 3, 0])).sameTop).toBe(false);
  });

  it("counts nothing that the file cannot tell from impossible", () => {
    const far = [0, -40, 0, 0, 0];
    const { kl } = agreement(encoded(far), Float32Array.from([0, -200, 0, 0, 0]));
    expect(Math.abs(kl)).toBeLessThan(1e-3);
  });
});

describe("the file", () => {
  const rows = 4;
  const file = path.join(folder, "two.logits");

  function write(): void {
    const head = Buffer.alloc(20);
    head.write("_logits_");
    [rows, vocab, 2].forEach((one, at) => {
      head.writeInt32LE(one, 8 + 4 * at);
    });
    const tokens = Buffer.from(Int32Array.from([1, 2, 3, 4, 5, 6, 7, 8]).buffer);
    // One scored row a chunk: 4 - 1 - 2.
    const bodies = [reference, [...reference].reverse()].map((logits) => {
      const { step, least, steps } = encoded(logits);
      const body = Buffer.alloc(2 * (6 + 4));
      body.writeFloatLE(step, 0);
      body.writeFloatLE(least, 4);
      steps.forEach((one, at) => {
        body.writeUInt16LE(one, 8 + 2 * at);
      });
      return body;
    });
    writeFileSync(file, Buffer.concat([head, tokens, ...bodies]));
  }

  it("gives tokens and distributions by chunk", () => {
    write();
    const read = new ReferenceFile(file);
    expect(read).toMatchObject({ rows, vocab, chunks: 2, first: 2, scored: 1 });
    expect([...read.tokens(1)]).toEqual([5, 6, 7, 8]);
    expect([...read.distribution(0, 0).steps]).toEqual([...encoded(reference).steps]);
    expect([...read.distribution(1, 0).steps]).toEqual([...encoded([...reference].reverse()).steps]);
    expect(() => read.distribution(1, 1)).toThrow(/ends too early/);
    read.close();
  });

  it("is refused when it is another one", () => {
    const foreign = path.join(folder, "foreign");
    writeFileSync(foreign, Buffer.alloc(64));
    expect(() => new ReferenceFile(foreign)).toThrow(/holds no distributions/);
  });
});

describe("the reference", () => {
  const sources = (data?: string) => ({
    data,
    encode: (text: string) => Array.from(text, (one) => one.charCodeAt(0)),
  });
  const size = { chunks: 1, rows: 8, threads: 1, folder, tell: () => {} };

  it("needs the passages, enough of them", async () => {
    expect(() => referenceTokens(sources(), 8)).toThrow(MissingData);
    await expect(referenceFile({ ...size, model: "m", sources: sources() })).rejects.toThrow(/BATON_DATA/);
  });
});

describe("what llama.cpp's tool prints", () => {
  const text = `====== KL divergence statistics ======
Mean    KLD:   0.012345 ±   0.000100
Maximum KLD:   1.000000

====== Token probability statistics ======
Same top p: 97.123 ± 0.300 %
`;

  it("is read", () => {
    expect(readStatistics(text)).toEqual({ kl: expect.closeTo(12.345, 9), top: 97.123 });
  });

  it("is refused without the figures", () => {
    expect(() => readStatistics("failed to load the model")).toThrow(/failed to load the model/);
  });
});
