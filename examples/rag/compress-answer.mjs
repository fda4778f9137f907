// SPDX-License-Identifier: Apache-2.0
// compress -> answer. `compress` reads the passages with the question and keeps what matters; `answer` reads the
// question and the note as they stand in the cache: none of their rows is computed again, and of the passages it sees
// nothing but the note. Both run under trained prompts; the texts here are what those began as.

import { defineChain } from "baton-lm";
import { show } from "./show.mjs";

const passages = `Marsk is a harbour town of nine thousand people. Its harbour freezes for eleven weeks a year.
The lighthouse on Ferry Rock was built in 1871 by the engineer Ada Lindqvist. In 1987 it was moved forty metres inland on rails, because the cliff below it was crumbling.
The town museum keeps the old lamp of the lighthouse. It is open from Tuesday to Saturday.`;

/** @param {import("baton-lm").Model} model @param {number} most */
function chain(model, most) {
  return defineChain(model)
    .input("question", { format: "Question: {question}\n" })
    .input("passages", { format: "Passages:\n{passages}\n" })
    .stage("compress", {
      prompt: {
        text: "Extract from the passages the evidence that is needed to answer the question. ",
        virtualTokens: 50,
      },
      reads: ["question", "passages"],
      opener: "Evidence:",
      maxTokens: Math.min(96, most),
    })
    .stage("answer", {
      prompt: {
        text: "Answer the question with a short phrase, using the evidence. ",
        virtualTokens: 50,
      },
      reads: ["question", "compress"],
      opener: "Answer:",
      maxTokens: Math.min(24, most),
    });
}

await show({
  chain,
  trained: { compress: "compress-answer/compress", answer: "compress-answer/answer" },
  inputs: { passages, question: "What does the town museum keep?" },
});
