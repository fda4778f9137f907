// SPDX-License-Identifier: Apache-2.0
// Chains that run together on one model, with one index and one pool, do not hear of each other: what a chain says,
// tokens and log-probabilities to the last bit, is the same whatever stands in the others' inputs.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defineChain, loadModel, type Model } from "../../src/index.js";
import { settled, tinyPath } from "./support.js";

const chains = 64;
let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyPath, {
    threads: 2,
    cacheBytes: 64 << 20,
    batchInvariant: true,
    maxBatchRows: 96,
  });
});
afterAll(() => model.close());

/** Secrets in what all stages read, in what one stage has for itself, and in what comes between two stages. */
function chain(secret: string) {
  const output = { maxTokens: 12, closers: ["<|endoftext|>"], logprobs: 3, temperature: 0.8 };
  return defineChain(model)
    .input("shared")
    .input("own")
    .stage("first", { ...output, prompt: { text: "Shorten." }, own: ["own"], seed: 5 })
    .input("late", { from: () => `What came later is ${secret}-late.` })
    .stage("second", { ...output, prompt: { text: "Answer." }, seed: 6 });
}

function inputsOf(index: number, secret: string) {
  const shared = `Case ${index}. The name is ${secret}-shared, and the harbour of Marsk freezes for weeks.`;
  return { shared, own: `Nobody may know ${secret}-own. ${"Boats come and go. ".repeat(index % 7)}` };
}

/** All at once; what chain `index` says, figures too, as text that is equal only if every bit is. */
async function saidBy(secretOf: (index: number) => string): Promise<string[]> {
  const runs = Array.from({ length: chains }, (_, index) => {
    const secret = secretOf(index);
    return chain(secret).run(inputsOf(index, secret)).result;
  });
  return (await Promise.all(runs)).map(({ first, second }) =>
    JSON.stringify([first, second].map(({ tokens, logprobs, reason }) => ({ tokens, logprobs, reason }))),
  );
}

describe(`${chains} chains at once`, () => {
  test("the half whose inputs stay says the same to the bit when the other half's secrets change", async () => {
    const before = await saidBy((index) => `secret${index}`);
    const after = await saidBy((index) => (index % 2 === 0 ? `secret${index}` : `another${index * 7}word`));
    for (let index = 0; index < chains; index++) {
      if (index % 2 === 0) expect(after[index], `chain ${index}`).toBe(before[index]);
      else expect(after[index], `chain ${index}: its own secret counts`).not.toBe(before[index]);
    }
    expect(new Set(before).size).toBe(chains);
  });

  test("what one says alone, on a model that has seen nothing, is what it says among the others", async () => {
    const together = await saidBy((index) => `secret${index}`);
    const options = { threads: 1, cacheBytes: 8 << 20, indexBytes: 0, batchInvariant: true };
    const busy = model;
    for (const index of [0, 13, 40, 63]) {
      model = await loadModel(tinyPath, options);
      try {
        const { first, second } = await chain(`secret${index}`).run(inputsOf(index, `secret${index}`)).result;
        const alone = [first, second].map(({ tokens, logprobs, reason }) => ({ tokens, logprobs, reason }));
        expect(together[index]).toBe(JSON.stringify(alone));
      } finally {
        await model.close();
        model = busy;
      }
    }
    expect((await settled(() => model.stats(), model.stats().blocksUsed)).segments).toBe(2); // the prompts
  });
});
