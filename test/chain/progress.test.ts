// SPDX-License-Identifier: Apache-2.0
// One function hears of everything: a model that is loaded, rows that a chain and a handle compute, tokens that they write.
// What it throws ends the work.

import { describe, expect, test } from "vitest";
import type { OnProgress, Progress } from "../../src/index.js";
import { defineChain, loadModel } from "../../src/index.js";
import { passages, question, settled, tinyPath } from "./tiny-model.js";

const options = { threads: 1, batchInvariant: true, cacheBytes: 8 << 20, indexBytes: 0, maxBatchRows: 16 };
const closers = { closers: ["<|endoftext|>"] };

describe("progress", () => {
  test("of a load, of a chain's stages and of a handle grows to its total", async () => {
    const told: Progress[] = [];
    const onProgress: OnProgress = (one) => told.push(one);
    await using model = await loadModel(tinyPath, { ...options, onProgress });
    expect(told.map(({ phase }) => phase)).toEqual(expect.arrayContaining(["done", "load", "ready"]));
    told.length = 0;
    const chain = defineChain(model)
      .input("q")
      .stage("a", { ...closers, maxTokens: 6 })
      .stage("b", { ...closers, maxTokens: 3 });
    const run = chain.run({ q: passages }, { onProgress });
    const events: { stage: string; done: number; total: number }[] = [];
    for await (const event of run) if (event.type === "prefill") events.push(event);
    for (const stage of ["a", "b"]) {
      const rows = told.filter((one) => one.phase === "prefill" && one.stage === stage);
      expect(rows.length).toBeGreaterThan(0);
      expect(rows.at(-1)).toEqual({
        phase: "prefill",
        stage,
        done: rows.at(-1)?.total,
        total: rows.at(-1)?.total,
      });
      const last = events.filter((one) => one.stage === stage).at(-1);
      expect([last?.done, last?.total]).toEqual([rows.at(-1)?.done, rows.at(-1)?.total]);
      const tokens = told
        .filter((one) => one.phase === "decode" && one.stage === stage)
        .map(({ done }) => done);
      const { [stage as "a"]: result } = await run.result;
      expect(tokens.at(-1)).toBe(result.tokens.length);
      expect(tokens).toEqual([...tokens].sort((one, other) => one - other));
      expect(told.find((one) => one.phase === "decode" && one.stage === stage)?.total).toBe(
        stage === "a" ? 6 : 3,
      );
    }
    told.length = 0;
    using handle = model.cache.open();
    await handle.append(passages, { onProgress });
    const { tokens } = await handle.generate({ ...closers, maxTokens: 5, onProgress }).result;
    expect(told.filter(({ phase }) => phase === "prefill").at(-1)).toEqual({
      phase: "prefill",
      done: handle.rows - tokens.length - 1,
      total: handle.rows - tokens.length - 1,
    });
    expect(told.at(-1)).toEqual({ phase: "decode", done: tokens.length, total: 5 });
  });

  test.each(["prefill", "decode"] as const)(
    "what is thrown at %s ends the run, which frees its rows",
    async (phase) => {
      await using model = await loadModel(tinyPath, options);
      const thrown = new Error("on purpose");
      const onProgress = (one: Progress) => {
        if (one.phase === phase) throw thrown;
      };
      const chain = defineChain(model)
        .input("q")
        .stage("a", { ...closers, maxTokens: 50 });
      await expect(chain.run({ q: question }, { onProgress }).result).rejects.toBe(thrown);
      await settled(model);
      expect(model.stats().usedBytes).toBe(0);
      const { a } = await chain.run({ q: question }).result;
      expect(a.tokens.length).toBeGreaterThan(0);
    },
  );
});
