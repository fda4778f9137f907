// SPDX-License-Identifier: Apache-2.0
// More runs than can be in progress: they start in order, no chain is starved, memory follows what runs and not what
// waits, and one too many is told so with the limits. BATON_SOAK_RUNS=N: that many runs instead.

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { defineChain, loadModel, type Model, QueueFullError } from "../../src/index.js";
import { failure, settled, tinyPath } from "./support.js";

const runs = Number(process.env.BATON_SOAK_RUNS ?? 1000);
const concurrent = 8;
const output = { maxTokens: 4, closers: ["<|endoftext|>"] };

/** A number in [0, 1) from a seed: storms that can be had again. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
}

let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyPath, {
    threads: 2,
    cacheBytes: 16 << 20,
    indexBytes: 0,
    batchInvariant: true,
    maxConcurrentRuns: concurrent,
    maxQueuedRuns: runs - concurrent,
  });
});
afterAll(() => model.close());

/** Four chains of different length; each tells when its run begins. */
function fourChains(onStart: (chain: number) => void) {
  return [1, 2, 3, 1].map((stages, index) => {
    const base = defineChain(model)
      .input("question")
      .input("begun", {
        from: () => {
          onStart(index);
          return "Now.";
        },
      })
      .stage("s0", output);
    if (stages === 1) return base;
    const two = base.stage("s1", output);
    return stages === 2 ? two : two.stage("s2", output);
  });
}

// with sanitizers, on a machine that does other things, two minutes were not enough
vi.setConfig({ testTimeout: 600_000 });

describe(`${runs} runs of four chains at once, ${concurrent} in progress`, () => {
  test("start in order, share the model fairly, and take the memory of what is in progress", async () => {
    const started: number[] = [];
    const chains = fourChains((chain) => started.push(chain));
    await chains[2]?.run({ question: "Run 0 of chain 2?" }).result;
    const { peakBytes: ofOne } = model.stats();
    started.length = 0;
    const ended: number[] = [];
    const waits: number[] = [];
    const began = performance.now();
    const all = Array.from({ length: runs }, async (_, index) => {
      const chain = index % 4;
      await chains[chain]?.run({ question: `Run ${index}?` }).result;
      ended.push(chain);
      waits.push(performance.now() - began);
    });
    const refused = await failure(
      (chains[0] as (typeof chains)[0]).run({ question: "One too many?" }).result,
    );
    if (!QueueFullError.isInstance(refused)) throw refused;
    expect(refused.facts).toMatchObject({
      running: concurrent,
      waiting: runs - concurrent,
      maxConcurrentRuns: concurrent,
      maxQueuedRuns: runs - concurrent,
    });
    await Promise.all(all);
    // Of every 40 that started, each chain has its 10: they were submitted in turn. A step between is awaited, so
    // runs in progress may change places.
    for (let at = 0; at + 40 <= runs; at += 40) {
      for (let chain = 0; chain < 4; chain++) {
        const count = started.slice(at, at + 40).filter((other) => other === chain).length;
        expect(Math.abs(count - 10)).toBeLessThanOrEqual(concurrent);
      }
    }
    for (let chain = 0; chain < 4; chain++) {
      expect(started.filter((other) => other === chain).length).toBe(runs / 4);
      // In the middle of it all each chain has ended about as many as the others.
      const half = ended.slice(0, runs / 2).filter((other) => other === chain).length;
      expect(Math.abs(half - runs / 8)).toBeLessThanOrEqual(2 * concurrent);
    }
    expect(model.stats().peakBytes).toBeLessThanOrEqual((concurrent + 1) * ofOne);
    expect(await settled(() => model.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
    waits.sort((a, b) => a - b);
    const report = {
      runs,
      p50Ms: quantile(waits, 0.5),
      p99Ms: quantile(waits, 0.99),
      peakBytes: model.stats().peakBytes,
    };
    console.log(`load: ${JSON.stringify(report)}`);
  });

  test("half of them aborted at random times: each ends as it must, no block stays, the next run is as ever", async () => {
    const chains = fourChains(() => {});
    const question = "How long does it freeze?";
    const wanted = (await (chains[0] as (typeof chains)[0]).run({ question }).result).s0.tokens;
    const seed = 20261123;
    const draw = random(seed);
    let aborted = 0;
    const all = Array.from({ length: runs }, async (_, index) => {
      const controller = new AbortController();
      const reason = new Error(`abort ${index}`);
      const run = (chains[index % 4] as (typeof chains)[0]).run({ question }, { signal: controller.signal });
      if (index % 2 === 0) setTimeout(() => controller.abort(reason), draw() * runs);
      const [outcome] = await Promise.allSettled([run.result]);
      if (outcome.status === "rejected") {
        expect(outcome.reason).toBe(reason);
        aborted += 1;
      } else {
        expect(outcome.value.s0.tokens).toEqual(wanted);
      }
    });
    await Promise.all(all);
    expect(aborted).toBeGreaterThan(runs / 8); // some were done before their time came
    expect(await settled(() => model.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
    expect(model.activity()).toMatchObject({ runs: 0, waitingRuns: 0, jobs: 0 });
    expect((await (chains[0] as (typeof chains)[0]).run({ question }).result).s0.tokens).toEqual(wanted);
  });
});
