// SPDX-License-Identifier: Apache-2.0
// What begins at the same moment and is the same is computed once, by whoever comes first; the others wait for it and
// find it. Counted in rows, with the texts of a model that shares nothing.

import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import type { LoadOptions, Model, StageResult } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { loadTiny, passages, question, rowsOf, settled, until } from "../chain/tiny-model.js";

const open: Model[] = [];
async function load(options: LoadOptions = {}): Promise<Model> {
  const model = await loadTiny({ indexBytes: 8 << 20, cacheBytes: 24 << 20, maxBatchRows: 64, ...options });
  open.push(model);
  return model;
}
afterEach(async () => {
  for (const model of open.splice(0)) await model.close();
});

const tokens = 6;
const stage = { maxTokens: tokens, closers: ["<|endoftext|>"] };
const own = 1 + tokens - 1; // rows of an output: its opener, and every token but the last

const chainOf = (model: Model) =>
  defineChain(model)
    .input("document", { alone: true })
    .input("question")
    .stage("s", { ...stage, prompt: { text: "Answer from the document." } });

const tokensOf = (results: readonly { s: StageResult }[]) => results.map(({ s }) => s.tokens);
const asks = Array.from({ length: 16 }, (_, i) => `Ship ${i * 37}? ${question}`);

describe("runs that start together", () => {
  test("16 of the same inputs: every row of prompt, document and question once", async () => {
    const model = await load();
    const inputs = { document: `${passages} ${passages}`, question };
    const before = model.cache.stats().rowsComputed;
    const runs = Array.from({ length: 16 }, () => chainOf(model).run(inputs).result);
    const results = await Promise.all(runs);
    const shared =
      rowsOf(model, inputs.document) + rowsOf(model, question) + rowsOf(model, "Answer from the document.");
    expect(model.cache.stats().rowsComputed - before).toBe(shared + 16 * own);
    const computed = results.map(({ s }) => s.usage.rowsComputed);
    expect(computed.reduce((sum, rows) => sum + rows)).toBe(shared + 16 * own);
    const cold = await load({ indexBytes: 0 });
    const wanted = (await chainOf(cold).run(inputs).result).s.tokens;
    expect(tokensOf(results)).toEqual(Array(16).fill(wanted));
  });

  test.each([
    ["all in one batch", {}],
    ["three at a time", { maxConcurrentRuns: 3 }],
    ["with blocks for two documents, not for 16", { cacheBytes: 96 * 8192, indexBytes: 32 * 8192 }],
  ])("16 questions on one document, %s: the document once", async (_, options) => {
    const model = await load(options);
    const document = `${passages} ${passages} ${passages}`;
    const before = model.cache.stats().rowsComputed;
    const runs = asks.map((ask) => chainOf(model).run({ document, question: ask }).result);
    const results = await Promise.all(runs);
    const prompt = rowsOf(model, "Answer from the document.");
    const questions = asks.reduce((sum, ask) => sum + rowsOf(model, ask), 0);
    const computed = model.cache.stats().rowsComputed - before;
    expect(computed).toBe(rowsOf(model, document) + prompt + questions + 16 * own);
    const cold = await load({ indexBytes: 0 });
    for (const [i, ask] of asks.entries()) {
      if (i % 4 !== 0) continue;
      const { s } = await chainOf(cold).run({ document, question: ask }).result;
      expect(results[i]?.s.tokens).toEqual(s.tokens);
    }
  });

  test("the first is aborted while it computes: the others go on without it", async () => {
    const model = await load({ maxBatchRows: 16 });
    const document = `${passages} ${passages} ${passages} ${passages}`;
    const first = defineChain(model)
      .input("document", { alone: true })
      .input("question")
      .stage("s", { ...stage, maxTokens: 150 })
      .input("late", { from: (_, { signal }) => sleep(60_000, "late", { signal }) }) // it cannot end before its abort
      .stage("t", stage)
      .run({ document, question });
    const others = asks.slice(0, 5).map((ask) => chainOf(model).run({ document, question: ask }).result);
    for await (const event of first) {
      if (event.type === "prefill") break; // leaving the loop aborts it
    }
    await expect(first.result).rejects.toMatchObject({ name: "AbortError" });
    const results = await Promise.all(others);
    const cold = await load({ indexBytes: 0 });
    for (const [i, { s }] of results.entries()) {
      const alone = await chainOf(cold).run({ document, question: asks[i] as string }).result;
      expect(s.tokens).toEqual(alone.s.tokens);
    }
    await settled(model);
    expect(model.activity()).toMatchObject({ jobs: 0, runs: 0 });
  });
});

describe("branches of a fan-out", () => {
  test("an input marked alone that each declares: once; hits in its events and usage", async () => {
    const model = await load();
    const document = `${passages} ${passages}`;
    const chain = defineChain(model)
      .input("question")
      .fanOut("branches", { items: () => asks.slice(0, 8) }, (branch) =>
        branch
          .input("ask")
          .input("text", { alone: true, from: () => document })
          .stage("s", stage),
      );
    const before = model.cache.stats().rowsComputed;
    const run = chain.run({ question });
    const hits: number[] = [];
    for await (const event of run) {
      if (event.type === "cache-hit" && event.segment.endsWith(".text")) hits.push(event.rows);
    }
    const { branches } = await run.result;
    const rows = rowsOf(model, document);
    expect(hits).toEqual(Array(7).fill(rows));
    const ours = asks.slice(0, 8).reduce((sum, ask) => sum + rowsOf(model, ask), 0);
    expect(model.cache.stats().rowsComputed - before).toBe(rowsOf(model, question) + rows + ours + 8 * own);
    const reused = branches.map(({ s }) => s.usage.rowsReused).sort((a, b) => a - b);
    expect(reused.at(-1)).toBeGreaterThanOrEqual(rows);
    expect(reused.filter((one) => one >= rows)).toHaveLength(7);
  });

  test("8 stages in each of 4 branches hold and compute the trunk once", async () => {
    const model = await load({ indexBytes: 0 });
    const names = Array.from({ length: 8 }, (_, i) => `stage${i}`);
    const context = `${passages} ${passages} ${passages}`;
    const trunkBlocks = Math.ceil(rowsOf(model, context) / model.info.blockRows);
    let most = 0;
    const chain = defineChain(model)
      .input("context")
      .fanOut("branches", { samples: 4 }, (branch) => {
        const [first = "", ...others] = names;
        const options = { ...stage, reads: ["context" as const], temperature: 1 };
        let steps = branch.stage(first, options);
        for (const name of others) steps = steps.stage(name, options);
        return steps;
      });
    const before = model.cache.stats();
    const run = chain.run({ context });
    for await (const event of run) {
      if (event.type === "text-delta") most = Math.max(most, model.cache.stats().blocksUsed);
    }
    await run.result;
    const after = model.cache.stats();
    expect(after.rowsComputed - before.rowsComputed).toBe(rowsOf(model, context) + 4 * 8 * own);
    // A block for the output that each branch writes, one for the one it wrote before.
    expect(most).toBeLessThanOrEqual(trunkBlocks + 4 * 2);
    expect(most).toBeGreaterThanOrEqual(trunkBlocks + 1);
    expect(after.rowsReused - before.rowsReused).toBe(4 * 8 * rowsOf(model, context));
  });

  test("a trunk found again is told once, with the branch that is first to read it", async () => {
    const model = await load();
    const chain = defineChain(model)
      .input("context")
      .fanOut("branches", { samples: 3 }, (branch) => branch.stage("s", stage));
    const rows = rowsOf(model, passages);
    const told = async () => {
      const run = chain.run({ context: passages });
      const events: [string, string, number, string?][] = [];
      for await (const event of run) {
        if (event.type === "cache-hit") events.push([event.stage, event.segment, event.rows]);
        if (event.type === "cache-miss") events.push([event.stage, event.segment, event.rows, event.reason]);
      }
      const { branches } = await run.result;
      const usages = branches.map(({ s: { usage } }) => [usage.rowsComputed, usage.rowsReused]);
      return { events: events.sort(([a], [b]) => a.localeCompare(b)), usages };
    };
    const branch = (i: number) => `branches[${i}].s`;
    const others = [1, 2].map((i) => [branch(i), "context", rows]);
    expect(await told()).toEqual({
      events: [[branch(0), "context", rows, "never-seen"], ...others],
      usages: [
        [rows + own, 0],
        [own, rows],
        [own, rows],
      ],
    });
    expect(await told()).toEqual({
      events: [[branch(0), "context", rows], ...others],
      usages: [
        [own, rows],
        [own, rows],
        [own, rows],
      ],
    });
  });
});

describe("handles", () => {
  test("eight sessions that begin with the same rows at once compute their whole blocks once", async () => {
    const model = await load();
    const ids = Array.from({ length: 200 }, (_, i) => (i * 37 + 11) % 500);
    const handles = Array.from({ length: 8 }, () => model.cache.open());
    const usages = await Promise.all(handles.map((one) => one.append(ids)));
    const computed = usages.map(({ rowsComputed }) => rowsComputed).sort((a, b) => b - a);
    expect(computed).toEqual([199, ...Array(7).fill(199 - 192)]);
    const outputs = await Promise.all(handles.map((one) => one.generate(stage).result));
    const cold = await load({ indexBytes: 0 });
    const alone = cold.cache.open();
    await alone.append(ids);
    const wanted = (await alone.generate(stage).result).tokens;
    expect(outputs.map((one) => one.tokens)).toEqual(Array(8).fill(wanted));
    for (const one of handles) one.close();
    await until(() => model.stats().usedBytes === 0);
    expect(model.stats().usedBytes).toBe(0);
  });
});
