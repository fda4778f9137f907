// SPDX-License-Identifier: Apache-2.0
// Many chains at once on one model: they decode in one batch and each gets what it gets alone; runs beyond
// maxConcurrentRuns wait in order. Measured with the engine's counters, never with a clock.

import { describe, expect, test } from "vitest";
import type { Model, StageResult } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { loadTiny, question, settled, until } from "./tiny-model.js";

const closers = ["<|endoftext|>"];

/** A chain with a prompt, sampling and length of its own. */
function chainOf(model: Model, i: number) {
  return defineChain(model)
    .input("question")
    .stage("draft", { prompt: { text: `Role ${i}: `.repeat(1 + (i % 5)) }, maxTokens: 6 + i, closers })
    .input("facts", { from: ({ draft }) => `${draft.text}. Harbour ${i}.` })
    .stage("answer", {
      prompt: { text: `You are number ${i}.` },
      own: ["facts"],
      opener: i % 2 === 0 ? "" : "Answer:",
      maxTokens: 220,
      closers,
      logprobs: 2,
      ...(i % 3 === 0 ? {} : { temperature: 0.9, seed: i, presencePenalty: 0.5 }),
    });
}

const essence = (results: Record<string, StageResult>) =>
  Object.values(results).map(({ text, tokens, reason, logprobs }) => ({ text, tokens, reason, logprobs }));

describe("16 chains with different prompts", () => {
  test("decode in one batch, and each gets exactly what it gets alone", async () => {
    const model = await loadTiny({ threads: 2, cacheBytes: 64 << 20, maxBatchRows: 64 });
    const inputs = Array.from({ length: 16 }, (_, i) => `${question} And ship ${i * 37}?`);
    const alone = [];
    for (const [i, text] of inputs.entries())
      alone.push(essence(await chainOf(model, i).run({ question: text }).result));
    expect(model.activity().mostDecodeRows).toBe(1);
    const lonely = model.activity();
    const together = async () =>
      (await Promise.all(inputs.map((text, i) => chainOf(model, i).run({ question: text }).result))).map(
        essence,
      );
    // All 16 answers overlap as a rule; on a machine that stops this thread in between they may not, once.
    for (let attempt = 0; attempt < 10 && model.activity().mostDecodeRows < 16; attempt++) {
      const before = model.activity();
      expect(await together()).toEqual(alone);
      const now = model.activity();
      expect(now.decodeRows - before.decodeRows).toBe(lonely.decodeRows);
      expect(now.turns - before.turns).toBeLessThan(lonely.turns);
    }
    expect(model.activity()).toMatchObject({ mostDecodeRows: 16, jobs: 0, runs: 0, waitingRuns: 0 });
    await model.close();
  });
});

describe("maxConcurrentRuns", () => {
  const simple = (model: Model, maxTokens = 20) =>
    defineChain(model).input("question").stage("s", { maxTokens, closers });

  test("runs beyond it wait in order, hold nothing, and give what they give alone", async () => {
    const model = await loadTiny({ maxConcurrentRuns: 2 });
    const chain = simple(model);
    const alone = (await chain.run({ question }).result).s.tokens;
    const order: number[] = [];
    let most = 0;
    const runs = Array.from({ length: 9 }, async (_, i) => {
      const run = chain.run({ question });
      for await (const event of run) {
        if (event.type === "stage-start") order.push(i);
        most = Math.max(most, model.activity().runs);
      }
      return (await run.result).s.tokens;
    });
    expect(model.activity()).toMatchObject({ runs: 2, waitingRuns: 7 });
    expect(model.stats().segments).toBeLessThanOrEqual(4);
    expect(await Promise.all(runs)).toEqual(Array(9).fill(alone));
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(most).toBe(2);
    await settled(model);
    expect(model.activity()).toMatchObject({ runs: 0, waitingRuns: 0 });
    // That two runs decode in one batch is a matter of timing here; that three never do is not.
    expect(model.activity().mostDecodeRows).toBeLessThanOrEqual(2);
    await model.close();
  });

  test("a full queue: QUEUE_FULL through result and events; bad inputs and the others as ever", async () => {
    const model = await loadTiny({ maxConcurrentRuns: 1, maxQueuedRuns: 1 });
    const chain = simple(model);
    const first = chain.run({ question });
    const second = chain.run({ question });
    const third = chain.run({ question });
    await expect(third.result).rejects.toMatchObject({
      code: "QUEUE_FULL",
      facts: { running: 1, waiting: 1, maxConcurrentRuns: 1, maxQueuedRuns: 1 },
    });
    await expect(third[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "QUEUE_FULL" });
    await expect(chain.run({} as never).result).rejects.toMatchObject({ code: "CHAIN_INVALID" });
    expect((await second.result).s.tokens).toEqual((await first.result).s.tokens);
    await model.close();
  });

  test("a waiting run ends with its signal's reason, or when its reader leaves", async () => {
    const model = await loadTiny({ maxConcurrentRuns: 1 });
    const chain = simple(model, 200);
    const first = chain.run({ question });
    const controller = new AbortController();
    const aborted = chain.run({ question }, { signal: controller.signal });
    const left = chain.run({ question });
    const last = chain.run({ question });
    expect(model.activity().waitingRuns).toBe(3);
    controller.abort("no longer wanted");
    await expect(aborted.result).rejects.toBe("no longer wanted");
    await left[Symbol.asyncIterator]().return?.();
    await expect(left.result).rejects.toMatchObject({ name: "AbortError" });
    expect(model.activity().waitingRuns).toBe(1);
    expect((await last.result).s.tokens).toEqual((await first.result).s.tokens);
    await model.close();
  });

  test("closing the model fails those in progress and those that wait, all with CLOSED", async () => {
    const model = await loadTiny({ maxConcurrentRuns: 1 });
    // Long enough to be in progress when a busy machine comes to look: 300 tokens take some milliseconds.
    const reads = ["question"] as const;
    const chain = simple(model, 300)
      .stage("t", { reads, maxTokens: 300, closers })
      .stage("u", { reads, maxTokens: 300, closers })
      .stage("v", { reads, maxTokens: 300, closers })
      .stage("w", { reads, maxTokens: 300, closers })
      .stage("x", { reads, maxTokens: 300, closers });
    const runs = Array.from({ length: 4 }, () => chain.run({ question }).result);
    const outcomes = Promise.allSettled(runs);
    await until(() => model.activity().jobs > 0);
    await model.close();
    for (const one of await outcomes) {
      expect(one).toMatchObject({ status: "rejected", reason: { code: "CLOSED" } });
    }
  });

  test("a run inside a `from` function of the same model does not wait for the run that waits for it", async () => {
    const model = await loadTiny({ maxConcurrentRuns: 1, maxQueuedRuns: 0 });
    const inner = simple(model, 5);
    const outer = defineChain(model)
      .input("question")
      .input("found", {
        from: async ({ question: asked }) => (await inner.run({ question: asked.text }).result).s.text,
      })
      .stage("s", { maxTokens: 5, closers });
    const { s } = await outer.run({ question }).result;
    expect(s.tokens.length).toBe(5);
    expect(model.activity()).toMatchObject({ runs: 0, waitingRuns: 0 });
    await model.close();
  });
});
