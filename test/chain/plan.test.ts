// SPDX-License-Identifier: Apache-2.0
// Definitions that contradict the rules: each gives CHAIN_INVALID or OPTION_INVALID naming the step, the name or
// value, and what would be right.

import { describe, expect, test } from "vitest";
import { checkLayout, checkName } from "../../src/chain/options.js";
import { planChain } from "../../src/chain/plan.js";
import type { Step } from "../../src/chain/steps/index.js";
import { stepKinds } from "../../src/chain/steps/index.js";
import type { BatonError, ErrorCode, ErrorFacts } from "../../src/errors.js";
import { BatonError as Base } from "../../src/errors.js";

const { input, stage } = stepKinds;

function failure(define: () => unknown): BatonError {
  try {
    define();
  } catch (error) {
    if (Base.isInstance(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

interface Case {
  title: string;
  steps: () => Step[];
  code?: ErrorCode;
  says: RegExp;
  facts: ErrorFacts;
}

const cases: Case[] = [
  {
    title: "a read of an unknown name",
    steps: () => [input("question", {}), stage("answer", { reads: ["qestion"] })],
    says: /"answer" cannot read "qestion": nothing of that name is declared\. It may read "question"/,
    facts: { step: "answer", name: "qestion", available: ["question"] },
  },
  {
    title: "a read of a later name",
    steps: () => [input("q", {}), stage("a", { reads: ["b"] }), stage("b", {})],
    says: /"a" cannot read "b": it is declared later/,
    facts: { step: "a", name: "b", available: ["q"] },
  },
  {
    title: "a read of itself",
    steps: () => [stage("a", { reads: ["a"] })],
    says: /does not read itself.*It may read nothing/,
    facts: { step: "a", name: "a", available: [] },
  },
  {
    title: "a read of another stage's own input",
    steps: () => [input("p", {}), stage("a", { own: ["p"] }), stage("b", { reads: ["p"] })],
    says: /"b" cannot read "p": it is private to stage "a"/,
    facts: { step: "b", name: "p", available: ["a"] },
  },
  {
    title: "a shared input that reads what a later stage owns",
    steps: () => [input("p", {}), input("q", { reads: ["p"] }), stage("a", { own: ["p"] })],
    says: /"q" cannot read "p": it is private to stage "a"/,
    facts: { step: "q", name: "p", available: [] },
  },
  {
    title: "an own input in the stage's reads",
    steps: () => [input("p", {}), stage("a", { own: ["p"], reads: ["p"] })],
    says: /own input of this stage and always read/,
    facts: { step: "a", name: "p", available: [] },
  },
  {
    title: "an input that reads an output",
    steps: () => [stage("a", {}), input("p", { reads: ["a"] }), stage("b", {})],
    says: /an input reads inputs only/,
    facts: { step: "p", name: "a", available: [] },
  },
  {
    title: "an own input that reads what its stage does not",
    steps: () => [input("q", {}), input("p", { reads: ["q"] }), stage("a", { own: ["p"], reads: [] })],
    says: /"p" cannot read "q"/,
    facts: { step: "p", name: "q", available: [] },
  },
  {
    title: "one name read twice",
    steps: () => [input("q", {}), stage("a", { reads: ["q", "q"] })],
    says: /"a" reads "q" twice/,
    facts: { step: "a", name: "q" },
  },
  {
    title: "one name declared twice",
    steps: () => [input("q", {}), stage("q", {})],
    says: /"q" is declared twice/,
    facts: { name: "q" },
  },
  {
    title: "an unknown own input",
    steps: () => [input("p", {}), stage("a", { own: ["x"] })],
    says: /cannot own "x": no input of that name is declared before\. It may own "p"/,
    facts: { step: "a", name: "x", available: ["p"] },
  },
  {
    title: "a stage as own input",
    steps: () => [stage("a", {}), stage("b", { own: ["a"] })],
    says: /cannot own "a"/,
    facts: { step: "b", name: "a", available: [] },
  },
  {
    title: "an own input of two stages",
    steps: () => [input("p", {}), stage("a", { own: ["p"] }), stage("b", { own: ["p"] })],
    says: /already private to stage "a"/,
    facts: { step: "b", name: "p", available: [] },
  },
  {
    title: "an own input named twice",
    steps: () => [input("p", {}), stage("a", { own: ["p", "p"] })],
    says: /named twice/,
    facts: { step: "a", name: "p", available: [] },
  },
  {
    title: "a stage without a first row",
    steps: () => [stage("a", { opener: "" })],
    says: /no row of its own to start from/,
    facts: { step: "a" },
  },
  {
    title: "an input that is alone and reads",
    steps: () => [input("q", {}), input("p", { alone: true, reads: ["q"] })],
    says: /alone.*reads/,
    facts: { step: "p" },
  },
  {
    title: "a format without the value",
    steps: () => [input("q", { format: "Question: {question}" })],
    code: "OPTION_INVALID",
    says: /does not contain \{q\}/,
    facts: { step: "q", option: "format", value: "Question: {question}" },
  },
];

describe("definitions that contradict the rules", () => {
  test.each(cases)("$title", ({ steps, code = "CHAIN_INVALID", says, facts }) => {
    const error = failure(() => planChain(steps()));
    expect(error.message).toMatch(says);
    expect({ code: error.code, facts: error.facts }).toEqual({ code, facts });
  });

  test.each(["", "1st", "a b", "a/b", 7, null])("the name %j", (name) => {
    expect(failure(() => checkName(name))).toMatchObject({ code: "CHAIN_INVALID" });
  });

  test("an unknown layout", () => {
    const error = failure(() => checkLayout({ layout: "spiral" as never }));
    expect(error).toMatchObject({
      code: "OPTION_INVALID",
      facts: { available: ["contiguous", "concatenated"] },
    });
  });
});

describe("stage options outside their ranges", () => {
  const bad: [string, unknown[]][] = [
    ["temperature", [-0.1, Number.NaN, Number.POSITIVE_INFINITY, 101, "1", null]],
    ["topK", [-1, 1.5, 2 ** 31]],
    ["topP", [0, 1.01, Number.NaN]],
    ["minP", [-0.1, 1, Number.NaN]],
    ["repetitionPenalty", [0, -1, 11]],
    ["presencePenalty", [-2.1, 2.1, Number.NaN, "1"]],
    ["frequencyPenalty", [-2.1, 2.1, Number.POSITIVE_INFINITY, null]],
    ["logprobs", [-1, 21, 0.5, Number.NaN, true, "5"]],
    [
      "logitBias",
      [null, 3, "5", [1, 2], { x: 1 }, { "-1": 1 }, { "1.5": 1 }, { "01": 1 }, { 2147483648: 1 }],
    ],
    ["seed", [-1, 0.5, 2 ** 32]],
    ["maxTokens", [0, -1, 1.5, Number.POSITIVE_INFINITY]],
    ["stop", ["", [""], [1], 3]],
    ["closers", ["", [""]]],
    ["own", [[1], ""]],
    ["opener", [1, null]],
    ["lead", [false]],
  ];
  test.each(bad.flatMap(([option, values]) => values.map((value) => ({ option, value }))))(
    "$option: $value",
    ({ option, value }) => {
      const error = failure(() => stage("s", { [option]: value }));
      expect(error).toMatchObject({ code: "OPTION_INVALID", facts: { step: "s", option } });
      expect(error.message).toContain(`\`${option}\``);
    },
  );

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e31, -1e31, "1", null, undefined])(
    "logitBias of %s for a token",
    (bias) => {
      const error = failure(() => stage("s", { logitBias: { 7: bias } as never }));
      expect(error).toMatchObject({ code: "OPTION_INVALID", facts: { step: "s", option: "logitBias[7]" } });
    },
  );

  test("an unknown option lists the known ones", () => {
    const error = failure(() => stage("s", { temprature: 1 } as never));
    expect(error.code).toBe("OPTION_INVALID");
    expect(error.message).toMatch(/temprature.*temperature/);
  });

  test.each([
    ["alone", "yes"],
    ["reads", "q"],
    ["reads", [1]],
    ["from", "text"],
    ["fromat", "{i}"],
  ])("of an input, %s: %j", (option, value) => {
    const error = failure(() => input("i", { [option]: value } as never));
    expect(error).toMatchObject({ code: "OPTION_INVALID", facts: { step: "i", option } });
  });

  test("the edges of every range are accepted", () => {
    const penalties = { repetitionPenalty: 10, presencePenalty: 2, frequencyPenalty: -2 };
    const options = { temperature: 100, topK: 0, topP: 1, minP: 0, ...penalties, seed: 2 ** 32 - 1 };
    const logitBias = { 0: Number.NEGATIVE_INFINITY, 2147483647: -1e30, 5: 1e30 };
    expect(stage("s", { ...options, logitBias, logprobs: 20, maxTokens: 1 }).settings).toMatchObject({
      sampler: {
        ...options,
        logitBias: {
          ids: Int32Array.of(0, 5, 2147483647),
          values: Float32Array.of(Number.NEGATIVE_INFINITY, 1e30, -1e30),
        },
      },
      maxTokens: 1,
      logprobs: 20,
    });
    const plain = stage("s", { logitBias: {}, logprobs: 0 }).settings;
    expect(plain?.sampler).not.toHaveProperty("logitBias");
    expect(plain?.logprobs).toBe(0);
    expect(stage("s", {}).settings?.logprobs).toBeNull();
  });
});
