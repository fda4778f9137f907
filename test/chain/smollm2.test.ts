// SPDX-License-Identifier: Apache-2.0
// The chain of the demo on the real model: the answer is in the text, and the second stage reads what the first wrote.

import { afterAll, beforeAll, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { defineChain, loadModel } from "../../src/index.js";
import { loadFacts } from "../helpers/fixtures.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { threads: 2, batchInvariant: true, indexBytes: 0 });
}, 300_000);
afterAll(() => model?.close());

interface GreedyPrompt {
  ids: number[];
  tokens: number[];
  text: string;
  closersAt: number[];
}

test("stages without a prompt are the base model: transformers' greedy tokens, all chains at once", async () => {
  const { prompts } = loadFacts<{ prompts: GreedyPrompt[] }>("smollm2-greedy");
  const open = prompts.filter((one) => one.closersAt.length === 0);
  expect(open.length).toBeGreaterThan(4);
  const exact = await loadModel("smollm2-135m-instruct", { threads: 2, activations: "float32" });
  try {
    for (const { ids, text } of open) {
      expect([...exact.tokenizer.encode(text, { specials: true })]).toEqual(ids);
    }
    const results = await Promise.all(
      open.map(({ text }) => {
        const chain = defineChain(exact).stage("base", { opener: text, maxTokens: 64 });
        return chain.run({}).result;
      }),
    );
    expect(results.map(({ base }) => [...base.tokens])).toEqual(open.map(({ tokens }) => tokens));
  } finally {
    await exact.close();
  }
}, 300_000);

const toAssistant = "<|im_end|>\n<|im_start|>assistant\n";
const inputs = {
  passages:
    "Marsk is a harbour town of nine thousand people. The lighthouse on Ferry Rock was built in 1871 by the engineer Ada Lindqvist.",
  question: "Who built the lighthouse on Ferry Rock?",
};

function chain(withPause: boolean) {
  const compressed = defineChain(model)
    .input("passages", { format: "<|im_start|>user\nText:\n{passages}\n\n" })
    .input("question", { format: "Question: {question}\n" })
    .stage("compress", {
      prompt: { text: "Find the facts." },
      opener: `Quote the sentences of the text that answer the question.${toAssistant}`,
      maxTokens: 40,
    });
  const paused = withPause ? compressed.input("pause", { from: () => "unread", alone: true }) : compressed;
  return paused.stage("answer", {
    prompt: { text: "Answer from the text." },
    reads: ["passages", "question", "compress"],
    opener: `<|im_end|>\n<|im_start|>user\nUse the quote to answer the question in one sentence.${toAssistant}`,
    maxTokens: 40,
  });
}

test("compress -> answer finds the name; runs at once and a pause between stages change no token", async () => {
  const alone = await chain(false).run(inputs).result;
  expect(alone.compress.text).toContain("Ada Lindqvist");
  expect(alone.answer.text).toContain("Ada Lindqvist");
  expect(alone.answer.reason).toBe("closed");
  const rows = model.tokenizer.encode(inputs.passages, { specials: false }).length;
  expect(alone.answer.usage.rowsReused).toBeGreaterThan(rows);
  expect(alone.answer.usage.rowsComputed).toBeLessThan(rows + 40);

  const [again, paused] = await Promise.all([
    chain(false).run(inputs).result,
    chain(true).run(inputs).result,
  ]);
  for (const other of [again, paused]) {
    expect(other.compress.tokens).toEqual(alone.compress.tokens);
    expect(other.answer.tokens).toEqual(alone.answer.tokens);
  }
}, 300_000);
