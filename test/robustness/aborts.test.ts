// SPDX-License-Identifier: Apache-2.0
// An abort at any moment brings the signal's own reason, gives every block back and leaves the model usable. That it
// takes effect within one layer is counted in rows: a step that is stopped writes none.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { defineChain, loadModel } from "../../src/index.js";
import type { EngineClient } from "../../src/native/engine-client.js";
import type { SegmentHandle } from "../../src/native/types.js";
import { eventually, failure, fresh, greedy, ids, mappings, openTiny, settled, tinyPath } from "./support.js";

const passages = "The harbour of Marsk freezes for eleven weeks a year. ".repeat(3);
const question = "How long does it freeze?";

describe("chains", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(tinyPath, { threads: 2, cacheBytes: 16 << 20, maxBatchRows: 32 });
  });
  afterAll(() => model.close());

  const chain = () =>
    defineChain(model)
      .input("question")
      .input("passages")
      .stage("a", {
        prompt: { text: "Shorten." },
        own: ["passages"],
        maxTokens: 100,
        closers: ["<|endoftext|>"],
      })
      .stage("b", { prompt: { text: "Answer." }, maxTokens: 60, closers: ["<|endoftext|>"] });

  test("many at once, each aborted at a random event, then a run as if nothing had been", async () => {
    const wanted = (await chain().run({ question, passages }).result).b.tokens;
    const { blocksUsed } = await settled(() => model.stats(), model.stats().blocksUsed);
    let stopped = 0;
    for (let turn = 0; turn < 15; turn++) {
      const runs = Array.from({ length: 8 }, async (_, index) => {
        const controller = new AbortController();
        const reason = new Error(`abort ${turn}.${index}`);
        const run = chain().run({ question, passages }, { signal: controller.signal });
        // A run has 8 events at least and 170 at most, as deltas that nobody has read yet become one.
        let events = Math.floor(Math.random() * (index % 2 === 0 ? 8 : 170));
        const watch = async () => {
          for await (const _ of run) if (events-- === 0) controller.abort(reason);
        };
        watch().catch(() => {}); // hears what `result` is rejected with
        const outcome = await run.result.catch((error: unknown) => error);
        if (controller.signal.aborted && outcome === reason) stopped += 1;
        else expect(outcome).toHaveProperty("b.reason", "length");
      });
      await Promise.all(runs);
      // A cut segment has no blocks and lives on until the engine's turn is over.
      await eventually(() => model.stats().segments === 2);
      expect(model.stats()).toMatchObject({ blocksUsed, segments: 2 });
    }
    expect(stopped).toBeGreaterThan(10);
    expect((await chain().run({ question, passages }).result).b.tokens).toEqual(wanted);
  });

  test("while loading: the reason, and no mapping of the file stays", async () => {
    const before = mappings("tiny-q8_0.gguf");
    let stopped = 0;
    for (let turn = 0; turn < 40; turn++) {
      const controller = new AbortController();
      const reason = new Error(`abort ${turn}`);
      if (turn % 4 === 0) setTimeout(() => controller.abort(reason), Math.random() * 10);
      else queueMicrotask(() => setImmediate(() => controller.abort(reason)));
      const outcome = await loadModel(tinyPath, { threads: 1, signal: controller.signal }).catch(
        (error: unknown) => error,
      );
      if (outcome === reason) stopped += 1;
      else await (outcome as Model).close();
    }
    expect(stopped).toBeGreaterThan(5);
    expect(await eventually(() => mappings("tiny-q8_0.gguf") === before)).toBe(true);
  });
});

describe("within one layer", () => {
  const rows = 500;
  // Of so many segments a step takes 30 ms or more: a thread that other programs keep waiting still acts within it.
  const width = 32;
  let engine: EngineClient;
  beforeEach(async () => {
    engine = await openTiny({ activations: "float32", cacheBytes: 64 << 20, maxBatchRows: width * rows });
  });
  afterEach(() => engine.close());

  const wide = () => Array.from({ length: width }, () => engine.createSegment(fresh()));

  /** Runs until the engine has planned the step: blocks are taken just before its first layer. */
  function prefill(segments: SegmentHandle[], signal?: AbortSignal): Promise<unknown> {
    const appends = segments.map((segment) => ({ segment, tokens: ids(rows) }));
    const run = engine.run({ appends, logits: "none" }, signal === undefined ? {} : { signal });
    while (engine.stats().blocksUsed === 0);
    return run;
  }

  const written = (segments: SegmentHandle[]) =>
    segments.reduce((sum, segment) => sum + engine.segmentInfo(segment).rows, 0);

  async function releaseAll(segments: SegmentHandle[]): Promise<void> {
    for (const segment of segments) engine.releaseSegment(segment);
    await settled(() => engine.stats());
  }

  test("a prefill in its only step: no row of the step is written", async () => {
    let stopped = 0;
    for (let turn = 0; turn < 20; turn++) {
      const segments = wide();
      const controller = new AbortController();
      const run = prefill(segments, controller.signal);
      const before = written(segments);
      controller.abort();
      const outcome = await run.catch((error: unknown) => error);
      if (before === 0 && written(segments) === 0) {
        expect(outcome).toBe(controller.signal.reason);
        stopped += 1;
      }
      await releaseAll(segments);
    }
    expect(stopped).toBeGreaterThan(0); // a check between steps only would find all rows written every time
  });

  test("a job that waits for its turn behind another's step is told before that step ends", async () => {
    let told = 0;
    for (let turn = 0; turn < 10; turn++) {
      const [long, short] = [wide(), engine.createSegment(fresh())];
      const first = prefill(long);
      const controller = new AbortController();
      const second = engine.run(
        { appends: [{ segment: short, tokens: ids(4) }], logits: "none" },
        { signal: controller.signal },
      );
      controller.abort();
      const outcome = await second.catch((error: unknown) => error);
      if (outcome === controller.signal.reason && written(long) === 0) told += 1;
      await first;
      expect(written(long)).toBe(width * rows);
      await releaseAll([...long, short]);
    }
    expect(told).toBeGreaterThan(0);
  });

  test("decode: no more than the token that was being sampled follows; the segment is as it was", async () => {
    for (let turn = 0; turn < 20; turn++) {
      const segment = engine.createSegment(fresh());
      const controller = new AbortController();
      let [received, atAbort] = [0, -1]; // ids; rows just after the abort, none if the job has ended by then
      const run = engine.run(
        { appends: [{ segment, tokens: ids(5) }], generate: greedy(500), logits: "none" },
        {
          signal: controller.signal,
          onTokens: (more) => {
            received += more.length;
            if (atAbort >= 0 || received < 20 + turn) return;
            controller.abort();
            atAbort = engine.segmentInfo(segment).rows;
          },
        },
      );
      expect(await failure(run)).toBe(controller.signal.reason);
      expect(engine.segmentInfo(segment).rows).toBe(0);
      // Sampled is one more than rows, and the step that was running may still end.
      if (atAbort > 0) expect(received).toBeLessThanOrEqual(atAbort - 5 + 2);
      engine.releaseSegment(segment);
      expect(await settled(() => engine.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
    }
  });

  test("a job that only hands out logits: they stop too", async () => {
    let stopped = 0;
    for (let turn = 0; turn < 20; turn++) {
      const segment = engine.createSegment(fresh());
      const controller = new AbortController();
      const run = engine.run(
        { appends: [{ segment, tokens: ids(rows) }], logits: "all" },
        { signal: controller.signal },
      );
      const ended = run.catch((error: unknown) => error);
      while (engine.segmentInfo(segment).rows === 0); // the forward is done, its logits are not
      controller.abort();
      if ((await ended) === controller.signal.reason) stopped += 1;
      engine.releaseSegment(segment);
    }
    expect(stopped).toBeGreaterThan(0);
  });
});
