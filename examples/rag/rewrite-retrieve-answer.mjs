// SPDX-License-Identifier: Apache-2.0
// rewrite -> retrieve -> answer. `rewrite` turns a question into search words, the program searches, `answer` reads the
// question and what was found. The question's rows are computed once; the passage arrives while the chain is running.
// Both run under trained prompts; the texts here are what those began as.

import { defineChain } from "baton-lm";
import { best } from "./library.mjs";
import { show } from "./show.mjs";

const user = "<|im_start|>user\n";
const toAssistant = "<|im_end|>\n<|im_start|>assistant\n";

/** @param {import("baton-lm").Model} model @param {number} most */
function chain(model, most) {
  return defineChain(model)
    .input("question", { format: `${user}Question: {question}\n` })
    .stage("rewrite", {
      prompt: { text: "Write the search words for the question. ", virtualTokens: 50 },
      opener: `Write the search words for this question.${toAssistant}`,
      lead: "",
      maxTokens: Math.min(32, most),
      stop: "\n",
    })
    .input("passage", {
      from: ({ question, rewrite }) => best(`${question.text} ${rewrite.text}`),
      format: "Text: {passage}\n",
      reads: ["question"],
    })
    .stage("answer", {
      prompt: { text: "Answer the question in a few words of the text. ", virtualTokens: 50 },
      reads: ["question", "passage"],
      opener: `Answer the question from the text in a few words.${toAssistant}`,
      lead: "",
      maxTokens: Math.min(24, most),
    });
}

await show({
  chain,
  trained: { rewrite: "rewrite-retrieve-answer/rewrite", answer: "rewrite-retrieve-answer/answer" },
  inputs: { question: "Which engineer built the lighthouse on Ferry Rock?" },
});
