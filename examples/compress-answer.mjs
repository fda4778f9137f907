// SPDX-License-Identifier: Apache-2.0
// compress -> answer. `compress` reads the passages with the question and keeps what matters; `answer` reads the same
// rows and the note, none of them computed again.

import { defineChain } from "baton-lm";
import { show } from "./show.mjs";

const passages = `Marsk is a harbour town of nine thousand people. Its harbour freezes for eleven weeks a year.
The lighthouse on Ferry Rock was built in 1871 by the engineer Ada Lindqvist. In 1987 it was moved forty metres inland on rails, because the cliff below it was crumbling.
The town museum keeps the old lamp of the lighthouse. It is open from Tuesday to Saturday.`;

const user = "<|im_start|>user\n";
const toAssistant = "<|im_end|>\n<|im_start|>assistant\n";

function chain(model, most) {
  return defineChain(model)
    .input("passages", { format: `${user}Text:\n{passages}\n\n` })
    .input("question", { format: "Question: {question}\n" })
    .stage("compress", {
      prompt: { text: "Find the facts." },
      opener: `Quote the sentences of the text that answer the question.${toAssistant}`,
      maxTokens: Math.min(64, most),
    })
    .stage("answer", {
      prompt: { text: "Answer from the text." },
      opener: `<|im_end|>\n${user}Use the quote to answer the question in one sentence.${toAssistant}`,
      maxTokens: Math.min(48, most),
    });
}

await show({ chain, inputs: { passages, question: "Why was the lighthouse moved?" } });
