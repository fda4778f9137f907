// SPDX-License-Identifier: Apache-2.0
// Random chains on the engine against a dense forward: plan, frames, shifts, blocks and attention over intervals
// together must give the logits that the definition's mask and positions give. Every block of the pool was filled with
// NaN before and handed back, so that one row read beyond what a view names would show in every number after it.

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Segment } from "../../src/cache/segment.js";
import { placeSegment } from "../../src/chain/frame.js";
import type { Model } from "../../src/index.js";
import { loadModel } from "../../src/index.js";
import { loadNative } from "../../src/native/load.js";
import type { Append } from "../../src/native/types.js";
import { fixturePath, loadArrays } from "../helpers/fixtures.js";
import type { DenseModel } from "./dense-llama.js";
import { denseLogits, embeddingOf, readDenseModel } from "./dense-llama.js";
import { denseReference, oracleSegments } from "./oracle.js";
import { oracleName, planOf } from "./oracle-plan.js";
import type { RandomChain } from "./random-chain.js";
import { randomChain } from "./random-chain.js";
import { until } from "./tiny-model.js";

const path = fixturePath("tiny-llama/tiny-f32.gguf");
const runs = 1500;
let model: Model;
let reference: DenseModel;

beforeAll(async () => {
  model = await loadModel(path, {
    watchNumbers: false, // numbers that are none are put there on purpose
    threads: 1,
    kvType: "f32",
    activations: "float32",
    batchInvariant: true,
    maxBatchRows: 7, // prompts and texts are cut at odd places
    cacheBytes: 128 * 32768,
  });
  reference = readDenseModel(path, loadNative().readModelFile(path));
  await poison();
});
afterAll(() => model.close());

/** Writes NaN into every block of the pool and hands the blocks back. */
async function poison(): Promise<void> {
  const { blocksTotal, blockRows } = model.stats();
  const rows = new Float32Array(blockRows * model.info.hidden).fill(Number.NaN);
  const segments = Array.from(
    { length: blocksTotal },
    // each at another place: rows that are the same there would be found, and take no block
    (_, start) => new Segment(model.engine, { kind: "input", start, reads: [] }),
  );
  for (const segment of segments)
    await model.engine.run({ appends: [segment.appendRows(rows)], logits: "none" });
  expect(model.stats().blocksUsed).toBe(blocksTotal);
  for (const segment of segments) segment.release();
  await until(() => model.stats().blocksUsed === 0);
  expect(model.stats().blocksUsed).toBe(0);
}

/** Content of every segment: token ids, or soft rows [count, M] for prompts. */
interface Content {
  tokens?: Int32Array;
  rows?: Float32Array;
}

function contentOf({ steps, lengths }: RandomChain, seed: number): Map<string, Content> {
  let state = seed | 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const contents = oracleSegments(steps).map((name): [string, Content] => {
    const count = lengths.get(name) as number;
    if (!name.endsWith("/prompt"))
      return [name, { tokens: Int32Array.from({ length: count }, () => next() * 512) }];
    return [name, { rows: Float32Array.from({ length: count * model.info.hidden }, () => next() - 0.5) }];
  });
  return new Map(contents);
}

/** Logits [R, V] of all rows, segments in the oracle's order, in one job. */
async function engineLogits(
  chain: RandomChain,
  contents: ReadonlyMap<string, Content>,
): Promise<Float32Array> {
  const plan = planOf(chain.steps);
  const nameOf = (id: string) => oracleName(plan, id);
  const lengthOf = (id: string) => chain.lengths.get(nameOf(id)) as number;
  const segments = new Map<string, Segment>();
  const appends: Append[] = [];
  for (const name of oracleSegments(chain.steps)) {
    const { id, kind } = plan.segments.find(
      (one) => nameOf(one.id) === name,
    ) as (typeof plan.segments)[number];
    const { start, reads } = placeSegment(plan, chain.layout, id, lengthOf);
    const views = reads.map((one) => ({
      segment: segments.get(one.id) as Segment,
      rows: lengthOf(one.id),
      shift: one.shift,
    }));
    const segment = new Segment(model.engine, { kind, start, reads: views });
    segments.set(id, segment);
    const { tokens, rows } = contents.get(name) as Content;
    appends.push(rows === undefined ? segment.appendTokens(tokens as Int32Array) : segment.appendRows(rows));
  }
  let logits = new Float32Array();
  const onLogits = (_: number, data: Float32Array) => {
    logits = new Float32Array(data);
  };
  await model.engine.run({ appends, logits: "all" }, { onLogits });
  for (const segment of segments.values()) segment.release();
  return logits;
}

/** Largest relative L2 error of a row; NaN if any number is. */
function worstRow(ours: Float32Array, theirs: readonly Float64Array[]): number {
  let worst = 0;
  theirs.forEach((row, index) => {
    let error = 0;
    let norm = 0;
    row.forEach((value, column) => {
      const difference = (ours[index * row.length + column] as number) - value;
      error += difference * difference;
      norm += value * value;
    });
    const relative = Math.sqrt(error / norm);
    worst = Number.isNaN(relative) ? Number.NaN : Math.max(worst, relative);
  });
  return worst;
}

describe("dense forward", () => {
  test("is itself right: PyTorch's logits of 40 rows", () => {
    const arrays = loadArrays("tiny-llama");
    const tokens = arrays.ints("tokens");
    const rows = Array.from(tokens, (token) => embeddingOf(reference, token));
    const causal = rows.map((_, i) => rows.map((__, j) => (j > i ? null : i - j)));
    expect(worstRow(arrays.floats("logits.f32"), denseLogits(reference, rows, causal))).toBeLessThan(1e-4);
  });

  test(`equals the engine on ${runs} random chains over a pool full of NaN`, async () => {
    let rowsSeen = 0;
    let worst = 0;
    await fc.assert(
      fc.asyncProperty(randomChain, fc.nat(), async (chain, seed) => {
        const contents = contentOf(chain, seed);
        const { rows, distance } = denseReference(chain.steps, chain.lengths, chain.layout);
        const { hidden } = model.info;
        const standing = rows.map(({ segment, index }) => {
          const { tokens, rows: soft } = contents.get(segment) as Content;
          if (soft !== undefined) return soft.subarray(index * hidden, (index + 1) * hidden);
          return embeddingOf(reference, (tokens as Int32Array)[index] as number);
        });
        const ours = await engineLogits(chain, contents);
        expect(ours.length).toBe(rows.length * model.info.vocab);
        const error = worstRow(ours, denseLogits(reference, standing, distance));
        expect(error).toBeLessThan(1e-4); // NaN is not
        worst = Math.max(worst, error);
        rowsSeen += rows.length;
      }),
      { numRuns: runs },
    );
    expect(rowsSeen).toBeGreaterThan(runs * 5);
    expect(worst).toBeGreaterThan(0);
  }, 600_000);

  test("a position that is off by one shows", async () => {
    const tokens = Int32Array.from({ length: 12 }, (_, i) => 40 + 7 * i);
    const rows = Array.from(tokens, (token) => embeddingOf(reference, token));
    const causal = rows.map((_, i) => rows.map((__, j) => (j > i ? null : i - j)));
    const off = causal.map((row, i) =>
      row.map((one, j) => (one === null || i < 6 || j >= 6 ? one : one + 1)),
    );
    const right = denseLogits(reference, rows, causal);
    const wrong = Float32Array.from(denseLogits(reference, rows, off).flatMap((row) => [...row]));
    expect(worstRow(wrong, right)).toBeGreaterThan(1e-3);
  });
});
