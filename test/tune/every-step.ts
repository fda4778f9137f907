// SPDX-License-Identifier: Apache-2.0
// A chain with every kind of step, and a record of it: an own input without an opener behind it, an input that is
// alone, rounds with an own input each and a condition that holds once, a fan-out, a join, a chain inside of the chain.

import type { Layout, Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { passages, question } from "../chain/tiny-model.js";

const rowsOf = (model: Model, text: string) => model.tokenizer.encode(` ${text}`, { specials: false }).length;

/** Generates exactly as many tokens as the gold text has: no closer is ever taken. */
const stageOf = (model: Model, gold: string, prompt = "Prompt.") => ({
  prompt: { text: prompt },
  maxTokens: rowsOf(model, gold),
  logitBias: Object.fromEntries(model.tokenizer.closers.map((id) => [id, Number.NEGATIVE_INFINITY])),
});

const gold = {
  compress: "The harbour freezes.",
  think: "Eleven weeks are long.",
  vote: "Yes, it does.",
  check: "Is that so?",
  answer: "Eleven weeks.",
};

/** Every kind of step; `layout` without the fan-out where the layout has none. */
export function everyStep(model: Model, layout: Layout) {
  const base = defineChain(model, { layout })
    .input("question", { format: "Question: {question}\n" })
    .input("passages", { alone: true })
    .input("hint", { format: "<|im_start|>{hint}" })
    .stage("compress", { ...stageOf(model, gold.compress), own: ["hint"], opener: "" })
    .rounds(
      "turns",
      (round) =>
        round
          .input("fact", { from: () => "A fact." })
          .stage("think", { ...stageOf(model, gold.think, "Think."), own: ["fact"], opener: "\nThought:" })
          .when(
            "doubt",
            (_, { round: at }) => at === 0,
            (inside) => inside.stage("check", stageOf(model, gold.check, "Check.")),
          ),
      { max: 2 },
    );
  const sub = defineChain(model, { layout })
    .input("text")
    .input("note", { format: "Note {note}" })
    .stage("check", { ...stageOf(model, gold.check, "Inner."), reads: ["text", "note"] });
  const used = base.use("sub", sub, { text: "compress", note: () => "made up" });
  if (layout === "concatenated")
    return used.stage("answer", { ...stageOf(model, gold.answer), reads: ["turns", "sub"] });
  return used
    .fanOut("votes", { items: () => ["one", "another"] }, (branch) =>
      branch.input("item", { format: "Item {item}: " }).stage("vote", stageOf(model, gold.vote, "Vote.")),
    )
    .join("answer", { ...stageOf(model, gold.answer), reads: ["question", "votes", "turns"] });
}

export const everyInput = { question, passages, hint: "Look for weeks." };
export const everyRecord = {
  ...everyInput,
  compress: gold.compress,
  turns: [
    { stage: "fact", text: "A fact." },
    { stage: "think", text: gold.think },
    { stage: "check", text: gold.check },
    { stage: "fact", text: "A fact." },
    { stage: "think", text: gold.think },
  ],
  sub: { note: "made up", check: gold.check },
  votes: ["one", "another"].map((item) => ({ item, vote: gold.vote })),
  answer: gold.answer,
};
