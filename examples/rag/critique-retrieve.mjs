// SPDX-License-Identifier: Apache-2.0
// Critique and retrieve: every round finds one more passage, `answer` tries, and `critique` reads the attempt and
// says whether the text carries it. Its word decides whether another passage is fetched. Each passage and each attempt
// is computed once and stays readable for all later rounds. `answer` runs under a prompt that was
// trained while it read the passages of two rounds; `critique` has a text, two trainings of it came to nothing.

import { defineChain } from "baton-lm";
import { nextPassage } from "./library.mjs";
import { show } from "./show.mjs";

const user = "<|im_start|>user\n";
const toAssistant = "<|im_end|>\n<|im_start|>assistant\n";
const toUser = `<|im_end|>\n${user}`;

/** @param {import("baton-lm").Model} model @param {number} most */
function chain(model, most) {
  return defineChain(model)
    .input("question", { format: `${user}Question: {question}\n` })
    .rounds(
      "search",
      (round) =>
        round
          .input("passage", {
            from: nextPassage,
            format: "Text: {passage}\n",
            reads: ["question"],
          })
          .stage("answer", {
            prompt: { text: "Answer the question in a few words of the text. ", virtualTokens: 50 },
            reads: ["question", "passage"],
            opener: `Answer the question from the text in a few words.${toAssistant}`,
            lead: "",
            maxTokens: Math.min(24, most),
          })
          .stage("critique", {
            prompt: { text: "You check answers." },
            reads: ["question", "passage", "answer"],
            opener: `${toUser}Is this answer to the question in the text? Reply yes or no.${toAssistant}`,
            maxTokens: Math.min(4, most),
          }),
      { max: 3, until: ({ critique }) => /^\W*yes/i.test(critique.text) },
    )
    .when(
      "doubt",
      ({ search }) => search.stopped === "max",
      (inside) =>
        inside.stage("summary", {
          prompt: { text: "Answer from the text." },
          reads: ["question", "search"],
          opener: `${toUser}Say in one sentence what is known.${toAssistant}`,
          maxTokens: Math.min(40, most),
        }),
    );
}

await show({
  chain,
  trained: { "search.answer": "critique-retrieve/answer" },
  inputs: { question: "Which engineer built the lighthouse on Ferry Rock north of the harbour of Marsk?" },
  report: ({ search, doubt }) =>
    `${search.rounds.length} rounds, stopped by ${search.stopped}; answer: ${doubt?.summary.text ?? search.rounds.at(-1)?.answer.text}`,
});
