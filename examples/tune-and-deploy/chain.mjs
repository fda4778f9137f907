// SPDX-License-Identifier: Apache-2.0
// The chain that is tuned and served. `prompt` is where the training begins, and afterwards what came of it.

import { defineChain } from "baton-lm";

/**
 * @param {import("baton-lm").Model} model
 * @param {import("baton-lm").PromptSource} [prompt]
 */
export function createChain(model, prompt = { text: "Answer with the year. ", virtualTokens: 20 }) {
  return defineChain(model)
    .input("text", { format: "Text: {text}\n" })
    .input("question", { format: "Question: {question}\n" })
    .stage("answer", { prompt, opener: "Answer:", maxTokens: 12 });
}
