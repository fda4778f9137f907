// SPDX-License-Identifier: Apache-2.0
// recall <-> reason: two specialists take turns, and every turn reads all turns before it. `recall` writes down a fact
// that helps, `reason` takes one step with the facts so far; when it says "answer", the last stage answers.

import { defineChain } from "baton-lm";
import { show } from "./show.mjs";

const user = "<|im_start|>user\n";
const toAssistant = "<|im_end|>\n<|im_start|>assistant\n";
const toUser = `<|im_end|>\n${user}`;

function chain(model, most) {
  return defineChain(model)
    .input("question", { format: `${user}Question: {question}` })
    .rounds(
      "turns",
      (round) =>
        round
          .stage("recall", {
            prompt: { text: "You know facts." },
            opener: `${toUser}Write one fact that helps to answer.${toAssistant}`,
            maxTokens: Math.min(32, most),
            repetitionPenalty: 1.3,
            stop: "\n",
          })
          .stage("reason", {
            prompt: { text: "You think step by step." },
            opener: `${toUser}What follows from this? If that is enough, say the answer.${toAssistant}`,
            maxTokens: Math.min(32, most),
            repetitionPenalty: 1.3,
            stop: "\n",
          }),
      { max: 3, until: ({ reason }, { round }) => round > 0 && /\banswer\b/i.test(reason.text) },
    )
    .stage("answer", {
      prompt: { text: "You answer briefly." },
      opener: `${toUser}Answer the question in a few words.${toAssistant}`,
      maxTokens: Math.min(24, most),
      repetitionPenalty: 1.3,
    });
}

await show({
  chain,
  inputs: { question: "Where would you put a hot drink to keep it warm: in a fridge, a flask or a basket?" },
  report: ({ turns }) => `${turns.rounds.length} rounds, stopped by ${turns.stopped}`,
});
