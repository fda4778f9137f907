// SPDX-License-Identifier: Apache-2.0
// recall <-> reason: two specialists take turns, and every turn reads all turns before it. `reason` takes one step; as
// long as it has not named the answer, `recall` writes down a fact that helps. Both run under prompts that were trained
// together; the texts here are what those began as.

import { defineChain } from "baton-lm";
import { show } from "./show.mjs";

const user = "<|im_start|>user\n";
const toAssistant = "<|im_end|>\n<|im_start|>assistant\n";
const toUser = `<|im_end|>\n${user}`;
const hasAnswer = ({ reason }) => reason.text.includes("The answer is");

function chain(model, most) {
  return defineChain(model)
    .input("question", { format: `${user}{question}` })
    .rounds(
      "turns",
      (round) =>
        round
          .stage("reason", {
            prompt: { text: "Think step by step and name the answer. ", virtualTokens: 50 },
            opener: `${toUser}Think one step further. If that is enough, name the answer.${toAssistant}`,
            lead: "",
            maxTokens: Math.min(128, most),
          })
          .when(
            "lookup",
            (results) => !hasAnswer(results),
            (inside) =>
              inside.stage("recall", {
                prompt: { text: "Recall a fact that helps. ", virtualTokens: 50 },
                opener: `${toUser}Recall a fact that helps to answer.${toAssistant}`,
                lead: "",
                maxTokens: Math.min(96, most),
              }),
          ),
      { max: 4, until: hasAnswer },
    );
}

await show({
  chain,
  trained: {
    "turns.reason": "reason-recall/turns.reason",
    "turns.lookup.recall": "reason-recall/turns.lookup.recall",
  },
  inputs: {
    question:
      "Question: Where would you put a hot drink to keep it warm on a long walk? " +
      "Options: A.fridge B.flask C.basket D.sink E.freezer ",
  },
  report: ({ turns }) => `${turns.rounds.length} rounds, stopped by ${turns.stopped}`,
});
