// SPDX-License-Identifier: Apache-2.0
// Where something runs out (KV budget, memory, threads, depth): a typed error that says how much, and everything else
// goes on.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { BatonError, CacheBudgetError, defineChain, loadModel } from "../../src/index.js";
import type { EngineClient } from "../../src/native/engine-client.js";
import { failure, fresh, greedy, ids, openTiny, reportOf, settled, tinyPath } from "./support.js";

describe("the KV budget", () => {
  const blocks = 12;
  let engine: EngineClient;
  let blockBytes = 0;
  beforeAll(async () => {
    const probe = await openTiny();
    blockBytes = probe.info().blockBytes;
    await probe.close();
    engine = await openTiny({ cacheBytes: blocks * blockBytes, maxBatchRows: 32 });
  });
  afterAll(() => engine.close());

  test("spent in prefill: bytes needed and free; a run beside it gives the same tokens as alone", async () => {
    const beside = async () => {
      const segment = engine.createSegment(fresh());
      const tokens: number[] = [];
      await engine.run(
        { appends: [{ segment, tokens: ids(10) }], generate: greedy(60), logits: "none" },
        { onTokens: (more) => tokens.push(...more) },
      );
      engine.releaseSegment(segment);
      return tokens;
    };
    const alone = await beside();
    const running = beside();
    const segment = engine.createSegment(fresh());
    const run = engine.run({ appends: [{ segment, tokens: ids(16 * (blocks + 1)) }], logits: "none" });
    const error = await failure(run);
    if (!CacheBudgetError.isInstance(error)) throw error;
    const { needed, free, budget } = error.facts as Record<string, number>;
    expect(budget).toBe(blocks * blockBytes);
    expect(needed).toBeGreaterThan(free as number);
    expect(error.message).toContain(String(needed));
    expect(error.message).toContain(String(free));
    expect(await running).toEqual(alone);
    engine.releaseSegment(segment);
    expect(await settled(() => engine.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
  });

  test("spent in decode, by two at once: one ends with CACHE_BUDGET, the other with its tokens", async () => {
    const decode = async (seed: number) => {
      const segment = engine.createSegment(fresh());
      const appends = [{ segment, tokens: ids(20, seed) }];
      const run = engine.run({ appends, generate: greedy(170), logits: "none" });
      return (await run.finally(() => engine.releaseSegment(segment))).stats.tokens;
    };
    let refused = 0;
    for (let turn = 0; turn < 50 && refused === 0; turn++) {
      // The first may be over before the second begins; mostly it is not.
      const [one, other] = (await Promise.allSettled([decode(1), decode(2)])).sort((a) =>
        a.status === "fulfilled" ? -1 : 1,
      );
      expect(one).toMatchObject({ status: "fulfilled", value: 170 });
      if (other?.status !== "rejected") continue;
      expect(other.reason).toMatchObject({ code: "CACHE_BUDGET" });
      refused += 1;
    }
    expect(refused).toBe(1);
    expect(await settled(() => engine.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
  });

  test("200 times spent: nothing is lost on the way", async () => {
    for (let turn = 0; turn < 200; turn++) {
      const segment = engine.createSegment(fresh());
      const appends = [{ segment, tokens: ids(16 * blocks + 1 + (turn % 7)) }];
      await failure(engine.run({ appends, logits: "none" }));
      engine.releaseSegment(segment);
    }
    const segment = engine.createSegment(fresh());
    await engine.run({ appends: [{ segment, tokens: ids(16 * blocks) }], logits: "none" });
    expect(engine.stats()).toMatchObject({ blocksUsed: blocks, freeBytes: 0 });
    engine.releaseSegment(segment);
  });
});

describe("chains within a budget", () => {
  test("64 at once where a few fit: each ends with its tokens or with CACHE_BUDGET", async () => {
    const model: Model = await loadModel(tinyPath, { threads: 1, cacheBytes: 1 << 20 });
    const chain = defineChain(model)
      .input("question")
      .stage("s", { maxTokens: 100, closers: ["<|endoftext|>"] });
    const alone = (await chain.run({ question: "How long?" }).result).s.tokens;
    const runs = Array.from({ length: 64 }, () => chain.run({ question: "How long?" }).result);
    let [done, refused] = [0, 0];
    for (const outcome of await Promise.allSettled(runs)) {
      if (outcome.status === "fulfilled") {
        expect(outcome.value.s.tokens.length).toBe(alone.length);
        done += 1;
      } else {
        expect(outcome.reason).toMatchObject({ code: "CACHE_BUDGET" });
        refused += 1;
      }
    }
    expect(done).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
    expect(await settled(() => model.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
    expect((await chain.run({ question: "How long?" }).result).s.tokens).toEqual(alone);
    await model.close();
  });
});

describe("memory", () => {
  interface Attempt {
    typed?: boolean;
    code?: string;
    message?: string;
    tokens?: number;
  }

  test("a KV pool beyond the address space of the process: OUT_OF_MEMORY; a modest model then loads", async () => {
    const asked = JSON.stringify({ threads: 1, cacheBytes: 1e15 });
    const report = await reportOf("memory.mjs", [asked]);
    expect(report).toMatchObject({ asked: { typed: true, code: "OUT_OF_MEMORY" }, modest: { tokens: 5 } });
  });

  /** A shell limit of `more` bytes of address space above what a process with a modest model takes. */
  async function addressSpace(more: number): Promise<string> {
    const report = await reportOf("memory.mjs", [JSON.stringify({ threads: 1, cacheBytes: 1 << 20 })]);
    return `ulimit -v ${Math.round((report.peakBytes as number) / 1024 + more / 1024)}`;
  }

  test("a limit on address space (ulimit -v): OUT_OF_MEMORY; a modest model then loads", async () => {
    const limits = await addressSpace(1e9);
    const options = JSON.stringify({ threads: 1, cacheBytes: 4e9 });
    const report = await reportOf("memory.mjs", [options], { limits });
    expect(report).toMatchObject({ asked: { typed: true, code: "OUT_OF_MEMORY" }, modest: { tokens: 5 } });
  });

  test("a limit on threads: typed, with the remedy; fewer then work", async () => {
    const limits = await addressSpace(1e9); // a thread's stack takes 8 MB of it
    const options = JSON.stringify({ threads: 1000, cacheBytes: 1 << 20 });
    const report = await reportOf("memory.mjs", [options], { limits });
    const asked = report.asked as Attempt;
    expect(asked).toMatchObject({ typed: true });
    expect(["OPTION_INVALID", "OUT_OF_MEMORY"]).toContain(asked.code);
    expect(report.modest).toEqual({ tokens: 5 });
  });
});

describe("structure", () => {
  let engine: EngineClient;
  beforeAll(async () => {
    engine = await openTiny();
  });
  afterAll(() => engine.close());

  test("open segments that read each other without end: refused, not a stack overflow", () => {
    const chain = [engine.createSegment(fresh())];
    const next = () => {
      const reads = [{ segment: chain.at(-1) as (typeof chain)[0], rows: 0, shift: 0 }];
      return engine.createSegment({ ...fresh(), reads });
    };
    const error = (() => {
      for (;;) {
        try {
          chain.push(next());
        } catch (thrown) {
          return thrown;
        }
        if (chain.length > 5000) return null;
      }
    })();
    expect(error).toMatchObject({ code: "OPTION_INVALID" });
    expect(BatonError.isInstance(error) && error.message).toMatch(/close a segment/);
    expect(engine.segmentInfo(chain.at(-1) as (typeof chain)[0]).identity).toHaveLength(64);
    for (const segment of chain) engine.releaseSegment(segment);
    expect(engine.stats().segments).toBe(0);
  });

  test("a closed segment counts for nothing: 5000 turns, each reading the one before", async () => {
    let last = engine.createSegment(fresh());
    for (let turn = 0; turn < 5000; turn++) {
      engine.closeSegment(last);
      const next = engine.createSegment({ ...fresh(), reads: [{ segment: last, rows: 0, shift: 0 }] });
      engine.releaseSegment(last);
      last = next;
    }
    engine.releaseSegment(last);
    expect(engine.stats().segments).toBe(0);
  });

  test("token rows and soft rows in one segment: both in its identity, also when a stop cuts it", async () => {
    const soft = new Float32Array(64 * 3).fill(0.25);
    const identityOf = async (order: ("soft" | "tokens")[], value = 0.25) => {
      const segment = engine.createSegment(fresh());
      for (const what of order) {
        const append =
          what === "soft" ? { segment, rows: soft.map(() => value) } : { segment, tokens: ids(20) };
        await engine.run({ appends: [append], logits: "none" });
      }
      const generate = { ...greedy(30), stops: [new TextEncoder().encode("t")] };
      await engine.run({ appends: [{ segment, tokens: ids(1) }], generate, logits: "none" });
      const { identity, rows } = engine.segmentInfo(segment);
      engine.releaseSegment(segment);
      expect(identity).toMatch(/^[0-9a-f]{64}$/);
      return `${identity} ${rows}`;
    };
    const letters = new TextEncoder().encode("the quick brown fox ".repeat(26).slice(0, 512));
    engine.setVocabulary(
      letters,
      Uint32Array.from({ length: 513 }, (_, i) => i),
    );
    const first = await identityOf(["tokens", "soft"]);
    expect(await identityOf(["tokens", "soft"])).toBe(first);
    expect(await identityOf(["soft", "tokens"])).not.toBe(first);
    expect(await identityOf(["tokens", "soft"], 0.5)).not.toBe(first);
    expect(await settled(() => engine.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
  });
});
