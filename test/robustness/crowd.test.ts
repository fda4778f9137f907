// SPDX-License-Identifier: Apache-2.0
// Many chains on one model: batched together they compute what each computes alone; and with nothing to do the
// engine sleeps.

import { expect, test } from "vitest";
import { defineChain, loadModel } from "../../src/index.js";
import { reportOf, settled, tinyPath } from "./support.js";

test("64 chains at once on one model: each gives what it gives alone, and nothing stays", async () => {
  const model = await loadModel(tinyPath, {
    threads: 2,
    cacheBytes: 32 << 20,
    batchInvariant: true,
    maxBatchRows: 48,
  });
  const chain = defineChain(model)
    .input("question")
    .input("passages")
    .stage("a", {
      prompt: { text: "Shorten." },
      own: ["passages"],
      maxTokens: 20,
      closers: ["<|endoftext|>"],
    })
    .stage("b", { prompt: { text: "Answer." }, maxTokens: 15, temperature: 0.8, seed: 7 });
  const inputs = Array.from({ length: 64 }, (_, i) => ({
    question: `How many boats lie in harbour ${i}?`,
    passages: "Boats come and go. ".repeat(1 + (i % 9)),
  }));
  const texts = (results: { a: { text: string }; b: { text: string } }) => [results.a.text, results.b.text];
  const alone: string[][] = [];
  for (const input of inputs) alone.push(texts(await chain.run(input).result));
  const { blocksUsed } = model.stats();
  const together = await Promise.all(inputs.map((input) => chain.run(input).result));
  expect(together.map(texts)).toEqual(alone);
  expect(new Set(alone.map(String)).size).toBeGreaterThan(32); // different inputs, different texts
  expect(await settled(() => model.stats(), blocksUsed)).toMatchObject({ blocksUsed, segments: 2 });
  expect(model.stats().peakBytes).toBeGreaterThan(20 * model.info.blockBytes);
  await model.close();
});

test("idle engines sleep: CPU milliseconds of 2 s, far below a core", async () => {
  const { cpuMs } = await reportOf("idle.mjs");
  console.log(`three idle engines: ${cpuMs} ms of CPU in 2 s`);
  expect(cpuMs).toBeLessThan(500);
});
