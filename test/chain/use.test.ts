// SPDX-License-Identifier: Apache-2.0
// A chain inside of a chain: the same tokens as alone where its inputs are texts; no row computed twice where they are
// steps of the chain around.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { failure } from "./failure.js";
import { loadTiny, passages, question, rowsOf, settled } from "./tiny-model.js";

let model: Model;
let other: Model;
beforeAll(async () => {
  [model, other] = await Promise.all([loadTiny(), loadTiny()]);
});
afterAll(() => Promise.all([model.close(), other.close()]));

const stage = { maxTokens: 5, closers: ["<|endoftext|>"] };

/** compress -> check, over a text and a question. */
const compress = (on = model) =>
  defineChain(on)
    .input("text")
    .input("question")
    .stage("compress", { ...stage, prompt: { text: "Shorten." } })
    .rounds("checks", (round) => round.stage("check", stage), { max: 2 });

describe("use", () => {
  test("inputs by function: the chain gives what it gives alone, and sees nothing around it", async () => {
    const alone = await compress().run({ text: passages, question }).result;
    const { sub, end } = await defineChain(model)
      .input("question")
      .stage("first", stage)
      .use("sub", compress(), { text: () => passages, question: ({ question: asked }) => asked.text })
      .stage("end", { ...stage, reads: ["sub"] })
      .run({ question }).result;
    expect(sub.compress.tokens).toEqual(alone.compress.tokens);
    expect(sub.checks.rounds.map((one) => one.check.tokens)).toEqual(
      alone.checks.rounds.map((one) => one.check.tokens),
    );
    expect(sub.compress.usage.rowsComputed).toBeGreaterThan(rowsOf(model, passages));
    expect(end.usage.rowsReused).toBe(3 * 6 - 1); // its outputs, not its inputs
  });

  test("inputs by name: rows that are there are read where they are", async () => {
    const { sub, end } = await defineChain(model)
      .input("passages")
      .input("question")
      .stage("first", { ...stage, reads: ["passages", "question"] })
      .use("sub", compress(), { text: "passages", question: "first" })
      .stage("end", stage)
      .run({ passages, question }).result;
    const p = rowsOf(model, passages);
    const q = rowsOf(model, question);
    const own = rowsOf(model, "Shorten."); // computed by the test before, or here
    expect(sub.compress.usage.rowsComputed).toBeLessThanOrEqual(own + 1 + 1 + 4); // owed row, opener, tokens
    expect(sub.checks.rounds[0]?.check.usage.rowsReused).toBe(p + 6 + 5); // text, first, compress
    expect(end.usage.rowsReused).toBe(p + q + 6 + 6 + 6 + 5);
  });

  test("the latest of rounds is meant; two uses of one chain do not meet", async () => {
    const { r } = await defineChain(model)
      .input("question")
      .rounds(
        "r",
        (round) =>
          round
            .stage("draft", { ...stage, reads: ["question"] })
            .use("a", compress(), { text: "question", question: "draft" })
            .use("b", compress(), { text: "question", question: "draft" }),
        { max: 2 },
      )
      .run({ question }).result;
    const tokens = r.rounds.map((one) => [one.a.compress.tokens, one.b.compress.tokens]);
    expect(tokens[0]?.[0]).toEqual(tokens[0]?.[1]);
    // draft reads the question alone, so every round writes the same; so does what reads nothing else
    expect(tokens[1]).toEqual(tokens[0]);
  });

  test("in branches, from inside of a used chain", async () => {
    const each = defineChain(model)
      .input("topic")
      .fanOut("views", { samples: 2 }, (branch) => branch.stage("view", stage))
      .join("view", { ...stage, reads: ["views"] });
    const { topics, end } = await defineChain(model)
      .input("question")
      .fanOut("topics", { items: () => [question, passages] }, (branch) =>
        branch.input("item").use("each", each, { topic: "item" }),
      )
      .join("end", { ...stage, reads: ["topics"] })
      .run({ question }).result;
    expect(topics.map((one) => one.each.views.length)).toEqual([2, 2]);
    const alone = await each.run({ topic: passages }).result;
    expect(alone.views).toHaveLength(2);
    expect(end.usage.rowsReused).toBe(2 * (6 + 6 + 5));
    await settled(model);
  });

  test("a chain used by a chain that is used: rows that are there are read where they are, however deep", async () => {
    const inmost = defineChain(model).input("text").stage("vote", stage);
    const middle = defineChain(model).input("text").use("inmost", inmost, { text: "text" });
    const deep = defineChain(model).input("question").use("middle", middle, { text: "question" });
    const flat = defineChain(model).input("question").use("inmost", inmost, { text: "question" });
    const ours = await deep.run({ question }).result;
    const wanted = await flat.run({ question }).result;
    expect(ours.middle.inmost.vote.tokens).toEqual(wanted.inmost.vote.tokens);
    expect(ours.middle.inmost.vote.usage.rowsReused).toBe(wanted.inmost.vote.usage.rowsReused);
    const drafted = await defineChain(model)
      .input("question")
      .rounds("talk", (round) => round.stage("draft", stage).use("middle", middle, { text: "draft" }), {
        max: 2,
      })
      .run({ question }).result;
    expect(drafted.talk.rounds.map((one) => one.middle?.inmost.vote.tokens.length)).toEqual([5, 5]);
    await settled(model);
  });

  test("events name its stages with the name that it is used under", async () => {
    const run = defineChain(model)
      .input("question")
      .use("sub", compress(), { text: "question", question: "question" })
      .run({ question });
    const stages = new Set<string>();
    for await (const event of run) stages.add(event.stage);
    expect([...stages]).toEqual(["sub.compress", "sub.checks[0].check", "sub.checks[1].check"]);
  });
});

describe("what goes wrong", () => {
  const around = () => defineChain(model).input("question").stage("first", stage);
  const define = (inputs: unknown, chain: unknown = compress()) =>
    around().use("sub", chain as ReturnType<typeof compress>, inputs as never);

  test.each([
    ["a missing input", { text: "question" }, "CHAIN_INVALID"],
    ["an unknown input", { text: "question", question: "first", more: "first" }, "CHAIN_INVALID"],
    ["a name that is not declared", { text: "question", question: "nothing" }, "CHAIN_INVALID"],
    ["a number", { text: "question", question: 7 }, "OPTION_INVALID"],
    ["no inputs", undefined, "OPTION_INVALID"],
  ])("%s", (_, inputs, code) => {
    expect(() => define(inputs)).toThrow(expect.objectContaining({ code }));
  });

  test("a chain of another model, of another layout, none at all", () => {
    const inputs = { text: "question", question: "first" };
    for (const chain of [compress(other), null, {}]) {
      expect(() => define(inputs, chain)).toThrow(
        expect.objectContaining({ code: "OPTION_INVALID", facts: expect.objectContaining({ step: "sub" }) }),
      );
    }
    const absolute = defineChain(model, { layout: "concatenated" }).input("q").stage("s");
    expect(() => around().use("sub", absolute, { q: "question" })).toThrow(
      expect.objectContaining({ code: "OPTION_INVALID" }),
    );
  });

  test("an own input by name: its rows would not be the stage's", () => {
    const chain = defineChain(model)
      .input("text")
      .rounds("r", (round) => round.stage("s", { own: ["text"] }), { max: 1 });
    expect(() => around().use("sub", chain, { text: "question" })).toThrow(
      /private to its stage "r\.s".*results\.question\.text/,
    );
  });

  test("a group by name", () => {
    const chain = around().fanOut("votes", { samples: 2 }, (branch) => branch.stage("vote"));
    expect(() => chain.use("sub", compress(), { text: "question", question: "votes" as "first" })).toThrow(
      /cannot take "votes" for an input: it is a group of steps/,
    );
  });

  test("a function that throws, one that gives no text", async () => {
    const cause = new Error("no text");
    const failing = () => {
      throw cause;
    };
    const thrown = await failure(
      around().use("sub", compress(), { text: failing, question: "first" }).run({ question }).result,
    );
    expect(thrown).toMatchObject({ code: "STEP_FAILED", facts: { step: "sub" }, cause });
    const empty = await failure(
      around()
        .use("sub", compress(), { text: () => "", question: "first" })
        .run({ question }).result,
    );
    expect(empty).toMatchObject({ code: "CHAIN_INVALID", facts: { step: "sub.text" } });
  });
});

test("explain places a used chain in frames of its own", async () => {
  const { segments } = await defineChain(model)
    .input("passages")
    .input("question")
    .use("sub", compress(), { text: "question", question: () => "?" })
    .explain({ passages, question });
  const one = segments.find(({ segment }) => segment === "sub.compress");
  expect(one?.reads.map(({ segment, at, shift }) => [segment, at.text, shift.text]).slice(1)).toEqual([
    ["question", "0", `-${rowsOf(model, passages)}`],
    ["sub.question", String(rowsOf(model, question)), "0"],
  ]);
});
