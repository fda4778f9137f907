// SPDX-License-Identifier: Apache-2.0
// Critique and retrieve: every round finds one more passage, `answer` tries, and `critique` reads the attempt and
// says whether the text carries it. Its word decides whether another passage is fetched. Each passage and each attempt
// is computed once and stays readable for all later rounds.

import { defineChain } from "baton-lm";
import { show } from "./show.mjs";

const library = [
  "Ferry Rock is a cliff of red granite north of the harbour of Marsk.",
  "The lighthouse on Ferry Rock was moved forty metres inland on rails in 1987.",
  "The engineer Ada Lindqvist built the lighthouse on Ferry Rock in 1871.",
  "The bakery at the market square opens at five in the morning.",
];

/** Passages by the number of words that they share with the query, best first. */
function ranked(query) {
  const words = (text) => new Set(text.toLowerCase().match(/[a-z]{4,}/g));
  const wanted = words(query);
  const score = (passage) => [...words(passage)].filter((word) => wanted.has(word)).length;
  return [...library].sort((a, b) => score(b) - score(a));
}

const user = "<|im_start|>user\n";
const toAssistant = "<|im_end|>\n<|im_start|>assistant\n";
const toUser = `<|im_end|>\n${user}`;

function chain(model, most) {
  return defineChain(model)
    .input("question", { format: `${user}Question: {question}\n` })
    .rounds(
      "search",
      (round) =>
        round
          .input("passage", {
            from: ({ question, search }) => {
              const seen = new Set(search.rounds.map((earlier) => earlier.passage.text));
              return ranked(question.text).find((one) => !seen.has(one));
            },
            format: "Text: {passage}\n",
            reads: ["question"],
          })
          .stage("answer", {
            prompt: { text: "Answer from the text." },
            reads: ["question", "passage"],
            opener: `Answer the question from the text in one sentence.${toAssistant}`,
            maxTokens: Math.min(32, most),
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
  inputs: { question: "When was the lighthouse on Ferry Rock moved inland?" },
  report: ({ search, doubt }) =>
    `${search.rounds.length} rounds, stopped by ${search.stopped}; answer: ${doubt?.summary.text ?? search.rounds.at(-1).answer.text}`,
});
