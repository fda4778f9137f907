// SPDX-License-Identifier: Apache-2.0
// What the compiler must accept and refuse about chains. Checked by `tsc --noEmit`: an @ts-expect-error that finds no
// error is one itself. Never executed.

import type { ChainEvent, Model, StageResult } from "../../src/index.js";
import { defineChain } from "../../src/index.js";

declare const model: Model;

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Equal<A, B>): void {}

const full = defineChain(model)
  .input("question")
  .stage("rewrite", { prompt: "prompts/rewrite", maxTokens: 32 })
  .input("passages", {
    from: ({ rewrite, question }, { signal }) => {
      same<typeof rewrite, StageResult>(true);
      same<typeof question.text, string>(true);
      same<typeof signal, AbortSignal>(true);
      return rewrite.text;
    },
  })
  .stage("compress", { own: ["passages"], reads: ["question"] })
  .stage("answer", { reads: ["question", "compress"], opener: "Answer:" });

// run takes exactly the given inputs; results are typed by stage
const run = full.run({ question: "?" });
same<Awaited<typeof run.result>, Record<"rewrite" | "compress" | "answer", StageResult>>(true);
// @ts-expect-error a given input is missing
full.run({});
// @ts-expect-error not an input
full.run({ question: "?", extra: "" });
// @ts-expect-error computed by `from`, not given
full.run({ question: "?", passages: "" });

async function events() {
  for await (const event of run) {
    same<typeof event, ChainEvent<"rewrite" | "compress" | "answer">>(true);
  }
  const { answer } = await run.result;
  same<typeof answer, StageResult>(true);
  // @ts-expect-error no stage of that name
  (await run.result).nothing;
}
void events;

const two = defineChain(model).input("a").input("b");

// @ts-expect-error unknown name
two.stage("s", { reads: ["c"] });
// @ts-expect-error unknown name in own
two.stage("s", { own: ["c"] });
// @ts-expect-error a stage does not read its own input by name
two.stage("s", { own: ["a"], reads: ["a"] });
// @ts-expect-error private to s from then on
two.stage("s", { own: ["a"] }).stage("t", { reads: ["a"] });
// @ts-expect-error owned already
two.stage("s", { own: ["a"] }).stage("t", { own: ["a"] });
// @ts-expect-error a stage is no input to be owned
two.stage("s").stage("t", { own: ["s"] });
const one = defineChain(model).input("a");
// @ts-expect-error declared later
one.stage("s", { reads: ["t"] }).stage("t");
// @ts-expect-error an input reads inputs only
two.stage("s").input("c", { reads: ["s"] });
// @ts-expect-error a name is declared once
two.input("a");
// @ts-expect-error a name is declared once, private or not
two.stage("s", { own: ["a"] }).stage("a");
// @ts-expect-error not declared yet when `from` runs
two.input("c", { from: ({ later }) => later.text });
// @ts-expect-error a number is no text
two.stage("s", { opener: 1 });
// @ts-expect-error unknown option
two.stage("s", { temprature: 1 });
// @ts-expect-error only two layouts
defineChain(model, { layout: "spiral" });

// flat types: a chain of forty stages must not explode the compiler
const s1 = two
  .stage("s1")
  .stage("s2")
  .stage("s3")
  .stage("s4")
  .stage("s5")
  .stage("s6")
  .stage("s7")
  .stage("s8");
const s2 = s1.stage("t1").stage("t2").stage("t3").stage("t4").stage("t5").stage("t6").stage("t7").stage("t8");
const s3 = s2.stage("u1").stage("u2").stage("u3").stage("u4").stage("u5").stage("u6").stage("u7").stage("u8");
const s4 = s3.stage("v1").stage("v2").stage("v3").stage("v4").stage("v5").stage("v6").stage("v7").stage("v8");
const s5 = s4.stage("w1").stage("w2").stage("w3").stage("w4").stage("w5").stage("w6").stage("w7").stage("w8");
s5.stage("end", { reads: ["a", "s1", "w8"] });
