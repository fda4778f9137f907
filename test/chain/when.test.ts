// SPDX-License-Identifier: Apache-2.0
// Conditions on a real engine: steps that run once or not at all, and a chain that does not notice those that do not.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { failure } from "./failure.js";
import { loadTiny, passages, question, rowsOf, settled, until } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

const stage = { maxTokens: 5, closers: ["<|endoftext|>"] };

/** draft, then a second look with evidence if `holds`, then an answer. */
function chain(holds: () => boolean | Promise<boolean>, on = model) {
  return defineChain(on)
    .input("question")
    .stage("draft", stage)
    .when(
      "retry",
      (results) => {
        expect(results.draft.usage.tokens).toBe(5);
        return holds();
      },
      (inside) =>
        inside
          .input("evidence", { from: ({ draft }) => (draft.text === "" ? question : passages) })
          .stage("second", { ...stage, prompt: { text: "Look again." } }),
    )
    .stage("answer", stage);
}

describe("when", () => {
  test("the condition holds: as if its steps stood there without it", async () => {
    const plain = await defineChain(model)
      .input("question")
      .stage("draft", stage)
      .input("evidence", { from: () => passages })
      .stage("second", { ...stage, prompt: { text: "Look again." } })
      .stage("answer", stage)
      .run({ question }).result;
    for (const holds of [() => true, async () => true]) {
      const { retry, answer } = await chain(holds).run({ question }).result;
      expect(retry?.evidence.text).toBe(passages);
      expect(retry?.second.tokens).toEqual(plain.second.tokens);
      expect(answer.tokens).toEqual(plain.answer.tokens);
      expect(answer.usage.rowsReused).toBe(plain.answer.usage.rowsReused);
    }
  });

  test("it does not hold: as if they did not exist", async () => {
    const plain = await defineChain(model)
      .input("question")
      .stage("draft", stage)
      .stage("answer", stage)
      .run({ question }).result;
    const result = await chain(() => false).run({ question }).result;
    expect(result.retry).toBeUndefined();
    expect(Object.keys(result)).toEqual(["draft", "retry", "answer"]);
    expect(result.answer.tokens).toEqual(plain.answer.tokens);
    expect(result.answer.usage).toMatchObject({
      rowsComputed: plain.answer.usage.rowsComputed,
      rowsReused: plain.answer.usage.rowsReused,
    });
  });

  test("what only its steps would have read goes when it does not hold", async () => {
    const fresh = await loadTiny();
    const held: number[] = [];
    const count = async (expected: number) => {
      await until(() => fresh.stats().segments === expected);
      held.push(fresh.stats().segments);
    };
    const run = (holds: boolean) =>
      defineChain(fresh)
        .input("question")
        .stage("a", { ...stage, reads: ["question"] })
        .stage("b", { ...stage, reads: ["question"] })
        .when(
          "more",
          async () => {
            await count(2); // a and b; nothing reads the question any more
            return holds;
          },
          (inside) => inside.stage("c", { ...stage, reads: ["a"] }),
        )
        .input("pause", {
          alone: true,
          from: async () => {
            await count(1); // b alone: whoever would read a has run, or never will
            return "go on";
          },
        })
        .stage("d", { ...stage, reads: ["b"] })
        .run({ question }).result;
    try {
      await run(true);
      await run(false);
      expect(held).toEqual([2, 1, 2, 1]);
      await settled(fresh);
      expect(fresh.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
    } finally {
      await fresh.close();
    }
  });

  test("inside of rounds it is asked in every round; later rounds read it where it ran", async () => {
    const { r, end } = await defineChain(model)
      .input("question")
      .rounds(
        "r",
        (round) =>
          round
            .when(
              "sometimes",
              (_, { round }) => round === 1,
              (inside) => inside.stage("extra", stage),
            )
            .stage("s", stage),
        { max: 3 },
      )
      .stage("end", { ...stage, reads: ["r"] })
      .run({ question }).result;
    expect(r.rounds.map((one) => one.sometimes?.extra.usage.tokens)).toEqual([undefined, 5, undefined]);
    const q = rowsOf(model, question);
    expect(r.rounds.map((one) => one.s.usage.rowsReused)).toEqual([0, q + 6 + 5, q + 3 * 6 - 1]);
    expect(end.usage.rowsReused).toBe(4 * 6 - 1);
  });

  test("inside of one that does not hold nothing is asked", async () => {
    let asked = 0;
    const { outer } = await defineChain(model)
      .input("question")
      .when(
        "outer",
        () => false,
        (inside) =>
          inside.when(
            "inner",
            () => {
              asked += 1;
              return true;
            },
            (deeper) => deeper.stage("s", stage),
          ),
      )
      .run({ question }).result;
    expect(outer).toBeUndefined();
    expect(asked).toBe(0);
  });

  test("the concatenated layout: positions of what is written do not depend on it", async () => {
    const tokens = [];
    for (const holds of [true, false]) {
      const { answer, first } = await defineChain(model, { layout: "concatenated" })
        .input("question")
        .stage("first", { ...stage, prompt: { text: "One." } })
        .when(
          "more",
          () => holds,
          (inside) => inside.stage("second", { ...stage, prompt: { text: "And two." } }),
        )
        .stage("answer", { ...stage, prompt: { text: "And then three." }, reads: ["question", "first"] })
        .run({ question }).result;
      expect(answer.usage.tokens).toBe(5);
      tokens.push(first.tokens);
    }
    expect(tokens[0]).toEqual(tokens[1]);
  });
});

describe("what goes wrong", () => {
  test("a condition that throws: STEP_FAILED with the cause, everything freed", async () => {
    const fresh = await loadTiny();
    const cause = new Error("cannot tell");
    try {
      const error = await failure(chain(() => Promise.reject(cause), fresh).run({ question }).result);
      expect(error).toMatchObject({ code: "STEP_FAILED", facts: { step: "retry" }, cause });
      await settled(fresh);
      expect(fresh.stats().segments).toBe(1); // the prompt, kept for the next run
    } finally {
      await fresh.close();
    }
  });

  test("a condition that returns neither true nor false", async () => {
    const error = await failure(chain(() => undefined as never).run({ question }).result);
    expect(error).toMatchObject({ code: "CHAIN_INVALID", facts: { step: "retry", value: "undefined" } });
  });

  test("no function", () => {
    const define = () => defineChain(model).when("w", true as never, (inside) => inside.stage("s"));
    expect(define).toThrow(expect.objectContaining({ code: "OPTION_INVALID" }));
  });
});

test("explain says that it may not run", async () => {
  const { groups, segments } = await chain(() => true).explain({ question });
  expect(groups).toEqual([{ group: "retry", runs: "once or not at all", shown: 8 }]);
  const reads = segments.find((one) => one.segment === "answer")?.reads.map((one) => one.segment);
  expect(reads).toEqual(["question", "draft", "retry.evidence", "retry.second"]);
});
