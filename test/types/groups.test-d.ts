// SPDX-License-Identifier: Apache-2.0
// What the compiler must accept and refuse about groups of steps. Checked by `tsc --noEmit`; never executed.

import type { Chain, ChainEvent, InputResult, Model, StageResult } from "../../src/index.js";
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
          // nothing is declared before this step: what later ones left in earlier rounds is typed loosely
          same<(typeof results.debate.rounds)[number]["reason"], InputResult>(true);
          same<typeof context.round, number>(true);
          same<typeof context.signal, AbortSignal>(true);
          return results.debate.rounds.at(-1)?.reason?.text ?? results.question.text;
        },
      })
      .stage("recall", { own: ["evidence"], reads: ["question", "plan", "debate"] })
      .input("count", {
        from: ({ debate }) => {
          const last = debate.rounds.at(-1);
          same<NonNullable<typeof last>["recall"], StageResult>(true);
          same<NonNullable<typeof last>["evidence"], InputResult>(true);
          same<NonNullable<typeof last>["reason"], InputResult>(true);
          // @ts-expect-error an input has no tokens
          last?.evidence.tokens;
          return `${debate.rounds.length} rounds, ${last?.recall.tokens.length ?? 0} tokens`;
        },
      })
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

// ---- when

const again = base.when(
  "again",
  ({ plan, question }, { signal }) => {
    same<typeof plan, StageResult>(true);
    same<typeof question, InputResult>(true);
    same<typeof signal, AbortSignal>(true);
    return plan.text === question.text;
  },
  (inside) =>
    inside.input("more", { from: ({ plan }) => plan.text }).stage("second", { reads: ["more", "plan"] }),
);
async function when() {
  const { again: result } = await again.run({ question: "", notes: "" }).result;
  same<typeof result, GroupOf<"more", "second"> | undefined>(true);
  // @ts-expect-error it may not have run
  result.second;
  same<NonNullable<typeof result>["second"], StageResult>(true);
}
void when;
type GroupOf<I extends string, S extends string> = Record<I, InputResult> & Record<S, StageResult>;
again.stage("end", { reads: ["again", "plan"] });
// a result that may be missing, in a later callback
// @ts-expect-error it may not have run
again.input("x", { from: ({ again }) => again.second.text });
again.input("x", { from: ({ again, plan }) => again?.second.text ?? plan.text });
base.when(
  "w",
  // @ts-expect-error a text is no answer
  () => "yes",
  (inside) => inside.stage("s"),
);
base.when(
  "w",
  // @ts-expect-error not declared yet when it is asked
  ({ s }) => s.text === "",
  (inside) => inside.stage("s"),
);

// ---- fan-out and join

const votes = base
  .fanOut("votes", { items: ({ plan }) => plan.text.split("\n") }, (branch) =>
    branch
      .input("item", { format: "{item}\n" })
      .stage("vote", { own: ["item"] })
      .input("score", {
        from: ({ vote, item, plan }, { index, item: text }) => {
          same<typeof index, number>(true);
          same<typeof text, string | undefined>(true);
          return `${vote.text}${item.text}${plan.text}`;
        },
      }),
  )
  .join("pick", { reads: ["votes", "question"] });
async function fanOut() {
  const { votes: all, pick } = await votes.run({ question: "", notes: "" }).result;
  same<typeof all, readonly GroupOf<"item" | "score", "vote">[]>(true);
  same<typeof pick, StageResult>(true);
}
void fanOut;
// @ts-expect-error a branch's own
votes.stage("s", { reads: ["vote"] });
// @ts-expect-error a join names what it joins
votes.join("j", {});
// @ts-expect-error nothing of that name
votes.join("j", { reads: ["vots"] });
// @ts-expect-error items are a list
base.fanOut("f", { items: () => "one" }, (branch) => branch.input("item").stage("s"));
// @ts-expect-error neither items nor samples
base.fanOut("f", {}, (branch) => branch.stage("s"));
// @ts-expect-error a branch does not see the group's own name
base.fanOut("f", { samples: 2 }, (branch) => branch.stage("s", { reads: ["f"] }));

// ---- groups in groups, to any depth: names and results stay exact

const deep = base.fanOut("a", { samples: 2 }, (a) =>
  a.rounds(
    "b",
    (b) =>
      b.stage("x").when(
        "c",
        ({ x, plan }) => x.text === plan.text,
        (c) => c.stage("y", { reads: ["x", "plan", "b"] }),
      ),
    { max: 2, until: ({ c }, { index, round }) => c?.y.text === "" && index === round },
  ),
);
// earlier rounds from inside of a group of the round, with groups of theirs
base.rounds(
  "r",
  (r) =>
    r
      .stage("x")
      .fanOut("f", { samples: 2 }, (f) => f.stage("y"))
      .when(
        "w",
        ({ r: { rounds }, x }) => {
          same<(typeof rounds)[number]["x"], StageResult>(true);
          same<(typeof rounds)[number]["f"], readonly GroupOf<never, "y">[]>(true);
          return rounds.at(-1)?.f[0]?.y.text === x.text;
        },
        (w) =>
          w.stage("z").input("last", {
            from: ({ r: { rounds } }) => {
              same<(typeof rounds)[number]["x"], StageResult>(true);
              return rounds.map((one) => one.f.length + one.x.tokens.length).join();
            },
          }),
      ),
  { max: 2 },
);
// @ts-expect-error the name of the rounds is taken inside of them
base.rounds("r", (round) => round.stage("r"), { max: 1 });
async function nested() {
  const run = deep.run({ question: "", notes: "" });
  const { a } = await run.result;
  same<NonNullable<(typeof a)[number]["b"]["rounds"][number]["c"]>["y"], StageResult>(true);
  for await (const { stage } of run) {
    same<typeof stage, "plan" | `a[${number}].b[${number}].x` | `a[${number}].b[${number}].c.y`>(true);
  }
}
void nested;

// ---- use

const answerer = defineChain(model)
  .input("text")
  .input("ask")
  .stage("reply")
  .rounds("checks", (round) => round.stage("check"), { max: 2 });
const used = base.use("sub", answerer, { text: "question", ask: ({ plan }) => plan.text });
async function use() {
  const run = used.stage("end", { reads: ["sub"] }).run({ question: "", notes: "" });
  const { sub } = await run.result;
  same<typeof sub.reply, StageResult>(true);
  same<(typeof sub.checks.rounds)[number]["check"], StageResult>(true);
  for await (const { stage } of run) {
    same<typeof stage, "plan" | "end" | "sub.reply" | `sub.checks[${number}].check`>(true);
  }
}
void use;
// @ts-expect-error an input is missing
base.use("sub", answerer, { text: "question" });
// @ts-expect-error an input that it does not have
base.use("sub", answerer, { text: "question", ask: "plan", more: "plan" });
// @ts-expect-error nothing of that name
base.use("sub", answerer, { text: "question", ask: "nothing" });
// @ts-expect-error its names are not known outside
used.stage("s", { reads: ["reply"] });
// @ts-expect-error the name is taken
base.use("plan", answerer, { text: "question", ask: "plan" });
