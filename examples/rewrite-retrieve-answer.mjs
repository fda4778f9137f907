// SPDX-License-Identifier: Apache-2.0
// rewrite -> retrieve -> answer. `rewrite` turns a question into search words, the program searches, `answer` reads the
// question and what was found. The question's rows are computed once; a passage arrives while the chain is running.

import { defineChain } from "baton-lm";
import { show } from "./show.mjs";

const library = [
  "The lighthouse on Ferry Rock was built in 1871 by the engineer Ada Lindqvist.",
  "The harbour of Marsk freezes for eleven weeks a year, and then supplies come by road.",
  "The town museum keeps the diary of Jon Varga, the last keeper of the lighthouse.",
  "The bakery at the market square opens at five in the morning.",
];

/** The two passages that share most words with the query. */
function retrieve(query) {
  const words = (text) => new Set(text.toLowerCase().match(/[a-z]{4,}/g));
  const wanted = words(query);
  const score = (passage) => [...words(passage)].filter((word) => wanted.has(word)).length;
  return [...library].sort((a, b) => score(b) - score(a)).slice(0, 2);
}

const user = "<|im_start|>user\n";
const toAssistant = "<|im_end|>\n<|im_start|>assistant\n";

function chain(model, most) {
  return defineChain(model)
    .input("question", { format: `${user}Question: {question}\n` })
    .stage("rewrite", {
      prompt: { text: "You write search queries." },
      opener: `Write the search words for this question.${toAssistant}`,
      maxTokens: Math.min(32, most),
      stop: "\n",
    })
    .input("passages", {
      from: ({ question, rewrite }) => retrieve(`${question.text} ${rewrite.text}`).join("\n"),
      format: "Text:\n{passages}\n",
      reads: ["question"],
    })
    .stage("answer", {
      prompt: { text: "Answer from the text." },
      reads: ["question", "passages"],
      opener: `Answer the question from the text in one sentence.${toAssistant}`,
      maxTokens: Math.min(40, most),
    });
}

await show({ chain, inputs: { question: "Which engineer built the lighthouse on Ferry Rock?" } });
