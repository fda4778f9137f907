// SPDX-License-Identifier: Apache-2.0
// What the compiler must accept and refuse about the stages of a training. Checked by `tsc --noEmit`; never executed.

import type { Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import type { StageSite, TuningOptions } from "../../src/tune/tuning.js";

declare const model: Model;

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Equal<A, B>): void {}

const chain = defineChain(model)
  .input("question")
  .stage("compress")
  .rounds(
    "turns",
    (round) =>
      round.stage("reason").when(
        "more",
        () => true,
        (inside) => inside.stage("recall"),
      ),
    { max: 3 },
  )
  .fanOut("votes", { samples: 2 }, (branch) => branch.stage("vote"))
  .stage("answer");

// ---- names: without numbers, behind the groups around them

type Site = StageSite<typeof chain>;
same<Site, "compress" | "turns.reason" | "turns.more.recall" | "votes.vote" | "answer">(true);
const empty = defineChain(model).input("question");
same<StageSite<typeof empty>, never>(true);

const data = [{ question: "q" }];
const good: TuningOptions<Site>[] = [
  { data, stages: ["answer", "turns.reason"] },
  { data, stages: { "turns.more.recall": { virtualTokens: 20, init: { text: "x" } }, answer: {} } },
  { data, stages: ["answer"], labels: ["votes.vote"], fields: { evidence: "compress" } },
];

// ---- what they refuse

const bad: TuningOptions<Site>[] = [
  // @ts-expect-error an input
  { data, stages: ["question"] },
  // @ts-expect-error a group
  { data, stages: ["turns"] },
  // @ts-expect-error without its group
  { data, stages: ["recall"] },
  // @ts-expect-error one turn of it
  { data, stages: { "turns[0].reason": {} } },
  // @ts-expect-error no option of a stage
  { data, stages: { answer: { tokens: 20 } } },
  // @ts-expect-error no stage
  { data, stages: ["answer"], labels: ["judge"] },
];

// ---- other prompts

chain.withPrompts({ answer: { text: "x" }, "turns.reason": "prompts/reason" }).run({ question: "q" });
// @ts-expect-error no stage of that name
chain.withPrompts({ reason: { text: "x" } });

export { bad, good };
