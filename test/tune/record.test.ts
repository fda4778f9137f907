// SPDX-License-Identifier: Apache-2.0
// From records to texts by the names of the chain: every shape of group, renamed fields, and what is wrong by field.

import { describe, expect, test } from "vitest";
import type { Step } from "../../src/chain/steps/index.js";
import { stepKinds } from "../../src/chain/steps/index.js";
import type { BatonError } from "../../src/index.js";
import { DataInvalidError, OptionInvalidError } from "../../src/index.js";
import type { FieldNames } from "../../src/tune/record.js";
import { checkFields, readRecord } from "../../src/tune/record.js";

const { input, stage, rounds, when, fanOut, use } = stepKinds;
const from = () => "any";
const origin = { label: "train.jsonl:17", facts: { source: "train.jsonl", line: 17 } };

function read(steps: readonly Step[], record: unknown, fields: FieldNames = {}) {
  const { texts, counts, ended } = readRecord(steps, record, fields, origin);
  return { texts: Object.fromEntries(texts), counts: Object.fromEntries(counts), ended: [...ended] };
}

function failureOf(work: () => unknown): BatonError {
  try {
    work();
  } catch (error) {
    return error as BatonError;
  }
  throw new Error("nothing failed");
}

const chain = [input("question", {}), stage("compress", {}), stage("answer", {})];
const turns = [
  input("question", {}),
  rounds("turns", {
    body: [stage("reason", {}), when("lookup", { condition: () => true, body: [stage("recall", {})] })],
    max: 4,
  }),
];

describe("what a record says", () => {
  test("inputs and outputs by name; what the chain does not know is left alone", () => {
    expect(read(chain, { question: "q", answer: "a", id: 4, evidence: ["x"] }).texts).toEqual({
      question: "q",
      answer: "a",
    });
    expect(read(chain, { question: "q", answer: null }).texts).toEqual({ question: "q" });
  });

  test("fields rename, and a name that stands for another step is no longer its own", () => {
    const texts = (fields: FieldNames) =>
      read(chain, { question: "q", evidence: "e", answer: "a" }, fields).texts;
    expect(texts({ evidence: "compress" })).toEqual({ question: "q", compress: "e", answer: "a" });
    expect(texts({ answer: "compress" })).toEqual({ question: "q", compress: "a" });
  });

  test("rounds as turns: each round takes what comes next, conditions hold where a turn is theirs", () => {
    const list = (...stages: string[]) => stages.map((stage, at) => ({ stage, text: `${stage} ${at}` }));
    expect(read(turns, { question: "q", turns: list("reason", "recall", "reason") })).toEqual({
      texts: {
        question: "q",
        "turns[0].reason": "reason 0",
        "turns[0].lookup.recall": "recall 1",
        "turns[1].reason": "reason 2",
      },
      counts: { turns: 2, "turns[0].lookup": 1, "turns[1].lookup": 0 },
      ended: [],
    });
    expect(read(turns, { rounds: list("reason", "reason") }, { rounds: "turns" }).counts).toEqual({
      turns: 2,
      "turns[0].lookup": 0,
      "turns[1].lookup": 0,
    });
    const think = [{ stage: "think", text: "t" }];
    expect(read(turns, { turns: think }, { think: "reason" }).texts).toEqual({ "turns[0].reason": "t" });
  });

  test("rounds as rounds, and where the last one ends", () => {
    const steps = [rounds("turns", { body: [stage("reason", {}), stage("recall", {})], max: 4 })];
    expect(read(steps, { turns: [{ reason: "a", recall: "b" }, { reason: "c" }] })).toEqual({
      texts: { "turns[0].reason": "a", "turns[0].recall": "b", "turns[1].reason": "c" },
      counts: { turns: 2 },
      ended: ["turns[1].recall"],
    });
  });

  test("rounds in rounds, as turns", () => {
    const inner = rounds("inner", { body: [stage("a", {}), stage("b", {})], max: 9 });
    const steps = [rounds("outer", { body: [inner, stage("c", {})], max: 9 })];
    const list = ["a", "b", "a", "b", "c", "a", "b", "c"].map((stage, at) => ({ stage, text: String(at) }));
    const { texts, counts } = read(steps, { outer: list });
    expect(counts).toEqual({ outer: 2, "outer[0].inner": 2, "outer[1].inner": 1 });
    expect(texts["outer[0].inner[1].b"]).toBe("3");
    expect(texts["outer[1].c"]).toBe("7");
  });

  test("a fan-out is a list of branches, a condition an object or nothing, a used chain an object", () => {
    const steps = [
      input("question", {}),
      fanOut("votes", { items: () => [], body: [input("doc", {}), stage("vote", {})] }),
      when("retry", { condition: () => true, body: [input("hint", { from }), stage("again", {})] }),
      use("sub", {
        body: [input("q", {}), input("note", {}), stage("out", {})],
        inputs: { q: "question", note: from },
      }),
    ];
    const record = {
      question: "q",
      votes: [{ doc: "d0", vote: "v0" }, { vote: "v1" }],
      retry: { hint: "h", again: "r" },
      sub: { note: "n", out: "o", q: 3 },
    };
    expect(read(steps, record)).toEqual({
      texts: {
        question: "q",
        "votes[0].doc": "d0",
        "votes[0].vote": "v0",
        "votes[1].vote": "v1",
        "retry.hint": "h",
        "retry.again": "r",
        "sub.note": "n",
        "sub.out": "o", // what is bound by name is the step outside
      },
      counts: { votes: 2, retry: 1 },
      ended: [],
    });
    expect(read(steps, { question: "q" }).counts).toEqual({ retry: 0 });
    expect(read(steps, { votes: [] }).counts).toEqual({ votes: 0, retry: 0 });
  });
});

describe("what is wrong with a record is named by record, field and type", () => {
  const cases: [string, readonly Step[], unknown, string, string][] = [
    ["no object", chain, [1], "", "is of type array"],
    ["null", chain, null, "", "is of type null"],
    ["a number for a text", chain, { question: 4 }, "question", "is of type number"],
    ["a list for a text", chain, { answer: ["a"] }, "answer", "is of type array"],
    ["no list of rounds", turns, { turns: "reason" }, "turns", "is of type string"],
    ["a round that is a text", turns, { turns: [{ reason: "a" }, "b"] }, "turns[1]", "is of type string"],
    ["no rounds", turns, { turns: [] }, "turns", 'gives 0 of "turns"'],
    [
      "too many rounds",
      turns,
      { turns: Array(5).fill({ reason: "a" }) },
      "turns",
      'gives 5 of "turns". The chain runs it 1 to 4 times',
    ],
    [
      "a turn of no step",
      turns,
      {
        turns: [
          { stage: "reason", text: "a" },
          { stage: "judge", text: "b" },
        ],
      },
      "turns[1].stage",
      'is "judge", which is no step of "turns". A round\'s steps are, in this order, reason, lookup',
    ],
    [
      "a turn's text of another type",
      turns,
      { turns: [{ stage: "reason", text: 5 }] },
      "turns[0].reason",
      "is of type number",
    ],
    [
      "a turn without a stage",
      turns,
      { turns: [{ stage: "reason", text: "a" }, { text: "b" }] },
      "turns[1].stage",
      "is of type undefined",
    ],
    [
      "a branch that is none",
      [fanOut("votes", { samples: 2, body: [stage("vote", {})] })],
      { votes: [{}, {}, {}] },
      "votes",
      'gives 3 of "votes". The chain runs it 2 times',
    ],
    [
      "a condition that is a list",
      [when("retry", { condition: () => true, body: [stage("again", {})] })],
      { retry: [] },
      "retry",
      "is of type array. Give an object with again",
    ],
  ];
  test.each(cases)("%s", (_, steps, record, field, what) => {
    const error = failureOf(() => read(steps, record));
    expect(error).toBeInstanceOf(DataInvalidError);
    expect(error.facts).toEqual({ source: "train.jsonl", line: 17, field });
    const place = field === "" ? "train.jsonl:17 " : `train.jsonl:17: "${field}" `;
    expect(error.message.startsWith(place)).toBe(true);
    expect(error.message).toContain(what);
  });

  test("fields must be steps, each once", () => {
    const wrong: [FieldNames, string][] = [
      [
        { evidence: "evidence" },
        "which is no step of the chain. The chain's steps are question, compress, answer",
      ],
      [{ a: "answer", b: "answer" }, 'which is what "a" stands for already'],
    ];
    for (const [fields, what] of wrong) {
      expect(failureOf(() => checkFields(chain, fields))).toBeInstanceOf(OptionInvalidError);
      expect(() => checkFields(chain, fields)).toThrow(what);
    }
    expect(() => checkFields(turns, { think: "recall", rounds: "turns" })).not.toThrow();
  });
});
