// SPDX-License-Identifier: Apache-2.0
// Random chains on the engine, through segments, views and shifts as the planner lays them out, against a dense float64
// forward under the mask that the oracle derives from the chain's definition. The cache is poisoned: whatever was not
// written, or was given back, holds NaN, so a row that reads one key too many answers NaN.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { isMainThread } from "node:worker_threads";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { placeSegment } from "../../src/chain/frame.js";
import type { SegmentId } from "../../src/chain/plan.js";
import { EngineClient } from "../../src/native/engine-client.js";
import { loadNative } from "../../src/native/load.js";
import type { KvType, SegmentHandle } from "../../src/native/types.js";
import { denseLogits, embeddingOf, readDenseModel } from "../chain/dense-llama.js";
import { denseReference } from "../chain/oracle.js";
import { oracleName, planOf } from "../chain/oracle-plan.js";
import type { RandomChain } from "../chain/random-chain.js";
import { randomChain } from "../chain/random-chain.js";
import { fixturePath, relativeL2 } from "../helpers/fixtures.js";
import { copyWithNumber } from "../helpers/gguf-metadata.js";
import { randomInts, randomRows } from "./program.js";
import type { Content } from "./support.js";
import { concatenated, exact, openTiny, run } from "./support.js";

const path = fixturePath("tiny-llama/tiny-f32.gguf");
const reference = readDenseModel(path, loadNative().readModelFile(path));
const { hidden, vocab } = reference;

/** What stands in each segment: soft rows in prompts, tokens elsewhere; the same for the same chain. */
function contentsOf({ lengths }: RandomChain): Map<string, Content> {
  return new Map(
    [...lengths].map(([name, rows], i): [string, Content] => [
      name,
      name.endsWith("/prompt") ? randomRows(i, rows, hidden) : randomInts(1000 + i, rows, vocab),
    ]),
  );
}

/** Logits [rows, vocab] by segment, from the definition alone. */
function fromDefinition(
  chain: RandomChain,
  contents: ReadonlyMap<string, Content>,
  window = Number.POSITIVE_INFINITY,
) {
  const { rows, distance } = denseReference(chain.steps, chain.lengths, chain.layout);
  const embeddings = rows.map(({ segment, index }) => {
    const content = contents.get(segment) as Content;
    return content instanceof Int32Array
      ? embeddingOf(reference, content[index] as number)
      : content.subarray(index * hidden, (index + 1) * hidden);
  });
  const logits = new Map<string, Float32Array[]>();
  const inWindow = distance.map((row) => row.map((one) => (one !== null && one < window ? one : null)));
  denseLogits(reference, embeddings, inWindow).forEach((row, i) => {
    const { segment } = rows[i] as { segment: string };
    logits.set(segment, [...(logits.get(segment) ?? []), Float32Array.from(row)]);
  });
  return new Map([...logits].map(([name, list]) => [name, concatenated(list)]));
}

interface WriteOptions {
  /** Everything in one job, or a job a segment. */
  oneJob: boolean;
  /** Changes a shift, to see that the comparison notices. */
  shiftOf?: (shift: number) => number;
}

/** Logits [rows, vocab] by segment, from the engine. */
async function fromEngine(
  engine: EngineClient,
  chain: RandomChain,
  contents: ReadonlyMap<string, Content>,
  { oneJob, shiftOf = (shift) => shift }: WriteOptions,
) {
  const plan = planOf(chain.steps);
  const nameOf = (id: SegmentId) => oracleName(plan, id);
  const lengthOf = (id: SegmentId) => chain.lengths.get(nameOf(id)) as number;
  const handles = new Map<SegmentId, SegmentHandle>();
  const appends = plan.segments.map(({ id, kind }) => {
    const { start, reads } = placeSegment(plan, chain.layout, id, lengthOf);
    const segment = engine.createSegment({
      kind,
      start,
      reads: reads.map((read) => ({
        segment: handles.get(read.id) as SegmentHandle,
        rows: lengthOf(read.id),
        shift: shiftOf(read.shift),
      })),
    });
    handles.set(id, segment);
    return { segment, content: contents.get(nameOf(id)) as Content };
  });
  const parts: Float32Array[] = [];
  for (const job of oneJob ? [appends] : appends.map((one) => [one])) {
    parts.push((await run(engine, job)).logits);
  }
  for (const segment of handles.values()) engine.releaseSegment(segment);
  const all = concatenated(parts);
  let row = 0;
  return new Map(
    plan.segments.map(({ id }) => {
      const begin = row;
      row += lengthOf(id);
      return [nameOf(id), all.slice(begin * vocab, row * vocab)];
    }),
  );
}

/** Largest relative L2 distance of any row of any segment; throws on NaN. */
function distanceOf(ours: Map<string, Float32Array>, wanted: Map<string, Float32Array>): number {
  expect([...ours.keys()].sort()).toEqual([...wanted.keys()].sort());
  const matrix = (data: Float32Array) => ({ rows: data.length / vocab, columns: vocab, data });
  const distances = [...wanted].map(([name, logits]) =>
    relativeL2(matrix(ours.get(name) as Float32Array), matrix(logits)),
  );
  return Math.max(...distances);
}

describe("views and shifts on the engine", () => {
  const poison = process.env.BATON_POISON_CACHE;
  beforeAll(() => {
    expect(isMainThread).toBe(true); // elsewhere process.env is a copy that native code does not see
    process.env.BATON_POISON_CACHE = "1";
  });
  afterAll(() => {
    if (poison === undefined) delete process.env.BATON_POISON_CACHE;
    else process.env.BATON_POISON_CACHE = poison;
  });

  test("equal the dense mask of the definition, 2000 random chains, all else NaN", async () => {
    // a pool so small that blocks of earlier chains come back, and batches that cut segments
    const engine = await openTiny("f32", { cacheBytes: 640 * 1024, maxBatchRows: 11 });
    let [chains, rows, shifted, jobs] = [0, 0, 0, 0];
    await fc.assert(
      fc.asyncProperty(randomChain, fc.boolean(), async (chain, oneJob) => {
        const contents = contentsOf(chain);
        const ours = await fromEngine(engine, chain, contents, {
          oneJob,
          shiftOf: (shift) => {
            if (shift !== 0) shifted++;
            return shift;
          },
        });
        expect(distanceOf(ours, fromDefinition(chain, contents))).toBeLessThanOrEqual(1e-4);
        chains++;
        jobs += oneJob ? 1 : 0;
        for (const length of chain.lengths.values()) rows += length;
      }),
      { numRuns: 2000 },
    );
    await engine.close();
    // the generator must have reached what the test is about
    expect(chains).toBe(2000);
    expect(rows).toBeGreaterThan(20_000);
    expect(shifted).toBeGreaterThan(500);
    expect(jobs).toBeGreaterThan(800);
  }, 600_000);

  // Bounds of the worst row that fast-check may hunt down; the mask itself is proven above, in f32.
  test("stay within the number format's error in f16, bf16 and int8 KV", async () => {
    for (const [kvType, bound] of [
      ["f16", 2e-2],
      ["bf16", 1.6e-1],
      ["int8", 2e-1],
    ] as [KvType, number][]) {
      const engine = await openTiny("f32", { cacheBytes: 640 * 1024, kvType });
      await fc.assert(
        fc.asyncProperty(randomChain, async (chain) => {
          const contents = contentsOf(chain);
          const ours = await fromEngine(engine, chain, contents, { oneJob: true });
          expect(distanceOf(ours, fromDefinition(chain, contents))).toBeLessThanOrEqual(bound);
        }),
        { numRuns: 100 },
      );
      await engine.close();
    }
  }, 600_000);

  // A window counts positions of the reader's frame, so shifted reads and prompts are inside or outside by what the
  // definition says of distances.
  test.each([1, 5])(
    "a sliding window of %i, 200 random chains, all else NaN",
    async (window) => {
      const windowed = join(mkdtempSync(join(tmpdir(), "baton-window-")), "windowed.gguf");
      copyWithNumber(path, windowed, "llama.attention.sliding_window", window);
      const options = { cacheBytes: 640 * 1024, maxBatchRows: 11 };
      const engine = await EngineClient.open(windowed, "windowed", { ...exact, ...options });
      let cut = 0;
      await fc.assert(
        fc.asyncProperty(randomChain, fc.boolean(), async (chain, oneJob) => {
          const contents = contentsOf(chain);
          const ours = await fromEngine(engine, chain, contents, { oneJob });
          const far = distanceOf(ours, fromDefinition(chain, contents));
          expect(distanceOf(ours, fromDefinition(chain, contents, window))).toBeLessThanOrEqual(1e-4);
          cut += far > 1e-3 ? 1 : 0;
        }),
        { numRuns: 200 },
      );
      await engine.close();
      rmSync(dirname(windowed), { recursive: true });
      expect(cut).toBeGreaterThan(100); // the window must have made a difference
    },
    600_000,
  );

  test("the comparison notices one wrong shift and one key too many", async () => {
    const chain: RandomChain = {
      steps: [
        { step: "input", name: "all", alone: false, reads: null },
        { step: "input", name: "mine", alone: false, reads: null },
        { step: "stage", name: "a", promptRows: 3, own: ["mine"], reads: null },
        { step: "stage", name: "b", promptRows: 2, own: [], reads: null },
      ],
      lengths: new Map([
        ["a/prompt", 3],
        ["b/prompt", 2],
        ["all", 5],
        ["mine", 4],
        ["a", 3],
        ["b", 3],
      ]),
      layout: "contiguous",
    };
    const engine = await openTiny("f32");
    const contents = contentsOf(chain);
    const wanted = fromDefinition(chain, contents);
    const right = await fromEngine(engine, chain, contents, { oneJob: true });
    expect(distanceOf(right, wanted)).toBeLessThanOrEqual(1e-4);
    const shiftOf = (shift: number) => (shift === 0 ? 0 : shift + 1);
    const moved = await fromEngine(engine, chain, contents, { oneJob: true, shiftOf });
    expect(distanceOf(moved, wanted)).toBeGreaterThan(1e-3);
    const isolated = { ...chain, steps: chain.steps.map((one) => ({ ...one })) };
    (isolated.steps[3] as { reads: string[] | null }).reads = ["a"]; // b no longer sees `all`
    expect(distanceOf(right, fromDefinition(isolated, contents))).toBeGreaterThan(1e-3);
    await engine.close();
  });
});
