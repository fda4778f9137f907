// SPDX-License-Identifier: Apache-2.0
// What the compiler must accept and refuse about groups of steps. Checked by `tsc --noEmit`; never executed.

import type { Chain, ChainEvent, InputResult, Model, RoundsSoFar, StageResult } from "../../src/index.js";
import { defineChain } from "../../src/index.js";

declare const model: Model;

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Equal<A, B>): void {}

const base = defineChain(model).input("question").input("notes").stage("plan");

// ---- rounds

const debate = base.rounds(
  "debate",
  (round) =>
    round
      .input("evidence", {
        reads: ["question"],
        from: (results, context) => {
          same<typeof results.plan, StageResult>(true);
          same<typeof results.debate, RoundsSoFar>(true);
          same<typeof context.round, number>(true);
          same<typeof context.signal, AbortSignal>(true);
          return results.debate.rounds.at(-1)?.reason?.text ?? results.question.text;
        },
      })
      .stage("recall", { own: ["evidence"], reads: ["question", "plan", "debate"] })
      .stage("reason", { own: ["notes"], reads: ["recall", "question"] }),
  {
    max: 4,
    until: (results, { round }) => {
      same<typeof results.reason, StageResult>(true);
      same<typeof results.evidence, InputResult>(true);
      same<typeof results.plan, StageResult>(true);
      same<(typeof results.debate.rounds)[number]["recall"], StageResult>(true);
      // @ts-expect-error nothing of that name
      results.nothing;
      return round > 2;
    },
  },
);
const answered = debate.stage("answer", { reads: ["debate", "question"] });

async function rounds() {
  const run = answered.run({ question: "", notes: "" });
  const { debate, plan, answer } = await run.result;
  same<typeof debate.stopped, "until" | "max">(true);
  same<(typeof debate.rounds)[number]["reason"], StageResult>(true);
  same<typeof plan, StageResult>(true);
  same<typeof answer, StageResult>(true);
  // @ts-expect-error a stage of the rounds, not of the chain
  (await run.result).reason;
  for await (const event of run) {
    same<
      typeof event,
      ChainEvent<"plan" | "answer" | `debate[${number}].recall` | `debate[${number}].reason`>
    >(true);
  }
}
void rounds;

// @ts-expect-error `own` inside has taken it
debate.stage("s", { reads: ["notes"] });
// @ts-expect-error names inside are not known outside
debate.stage("s", { reads: ["recall"] });
// @ts-expect-error the name of a group is taken
debate.stage("debate");
// @ts-expect-error a group is not known before it is declared
base.stage("s", { reads: ["debate"] });
// @ts-expect-error an input inside has no value
base.rounds("r", (round) => round.input("extra").stage("s"), { max: 1 });
// @ts-expect-error `max` is missing
base.rounds("r", (round) => round.stage("s"), {});
// @ts-expect-error a later name
base.rounds("r", (round) => round.stage("s", { reads: ["t"] }).stage("t"), { max: 1 });
// @ts-expect-error a name from around is taken
base.rounds("r", (round) => round.stage("plan"), { max: 1 });
// @ts-expect-error a number is no answer
base.rounds("r", (round) => round.stage("s"), { max: 1, until: () => 1 });
// a chain whose names are known at run time only
declare const dynamic: Chain<string, string, string, string>;
dynamic.rounds("r", (round) => round.stage("s", { reads: ["anything"] }), { max: 1 });
