// SPDX-License-Identifier: Apache-2.0
// A chain as a document: the same results as the same chain in code, and every mistake named with its place.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { chainFromDocument, chainSchema, defineChain, parseChainDocument } from "../../src/index.js";
import { loadTiny, passages, question } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

const closers = ["<|endoftext|>"];
const shout = ({ compress }: { compress: { text: string } }) => `${compress.text.length} letters`;

const document = {
  $schema: "https://example.org/chain.schema.json",
  model: "tiny",
  options: { threads: 1 },
  layout: "contiguous",
  steps: [
    { input: "question", format: "Question: {question}\n" },
    { input: "passages", alone: true },
    { stage: "compress", prompt: { text: "Shorten." }, own: ["passages"], maxTokens: 8, closers },
    { input: "length", from: "shout", reads: ["question"] },
    {
      stage: "answer",
      reads: ["question", "length", "compress"],
      temperature: 0.8,
      presencePenalty: 0.5,
      frequencyPenalty: 0.25,
      logitBias: { 7: "ban", 12: 1.5 },
      logprobs: 2,
      seed: 3,
      maxTokens: 8,
      closers,
    },
  ],
};

function inCode() {
  return defineChain(model)
    .input("question", { format: "Question: {question}\n" })
    .input("passages", { alone: true })
    .stage("compress", { prompt: { text: "Shorten." }, own: ["passages"], maxTokens: 8, closers })
    .input("length", { from: shout, reads: ["question"] })
    .stage("answer", {
      reads: ["question", "length", "compress"],
      temperature: 0.8,
      presencePenalty: 0.5,
      frequencyPenalty: 0.25,
      logitBias: { 7: Number.NEGATIVE_INFINITY, 12: 1.5 },
      logprobs: 2,
      seed: 3,
      maxTokens: 8,
      closers,
    });
}

const inputs = { question, passages };
const functions = { shout };

describe("a document", () => {
  test("gives what the same chain in code gives: segments, texts and tokens", async () => {
    const fromDocument = chainFromDocument(model, JSON.parse(JSON.stringify(document)), { functions });
    expect(fromDocument.inputs).toEqual(inCode().inputs);
    expect(String(await fromDocument.explain(inputs))).toBe(String(await inCode().explain(inputs)));
    const [ours, wanted] = [await fromDocument.run(inputs).result, await inCode().run(inputs).result];
    for (const stage of ["compress", "answer"] as const) {
      expect(ours[stage]?.tokens).toEqual(wanted[stage].tokens);
      expect(ours[stage]?.text).toBe(wanted[stage].text);
      expect(ours[stage]?.logprobs).toEqual(wanted[stage].logprobs);
    }
    expect(wanted.answer.logprobs).toHaveLength(8);
  });

  test("with rounds gives what the same rounds in code give, however `until` ends them", async () => {
    for (const matches of ["[a-z]", "no such text"]) {
      const stage = { maxTokens: 6, closers };
      const steps = [
        { input: "question" },
        {
          rounds: "talk",
          max: 3,
          until: { stage: "reason", matches },
          steps: [
            { stage: "recall", ...stage },
            { stage: "reason", ...stage },
          ],
        },
        { stage: "answer", ...stage },
      ];
      const wanted = await defineChain(model)
        .input("question")
        .rounds("talk", (round) => round.stage("recall", stage).stage("reason", stage), {
          max: 3,
          until: ({ reason }) => new RegExp(matches, "u").test(reason.text),
        })
        .stage("answer", stage)
        .run({ question }).result;
      const ours = await chainFromDocument(model, { model: "tiny", steps }).run({ question }).result;
      const texts = (value: unknown) =>
        JSON.stringify(value, (key, one) => (key === "usage" ? undefined : one));
      expect(texts(ours)).toBe(texts(wanted));
      expect(wanted.talk.stopped).toBe(matches === "[a-z]" ? "until" : "max");
    }
  });

  test("with every kind of step gives what the same chain in code gives", async () => {
    const stage = { maxTokens: 5, closers };
    const items = () => ["one", "two"];
    const inside = defineChain(model).input("text").input("extra").stage("vote", stage);
    const wanted = defineChain(model)
      .input("question")
      .stage("draft", stage)
      .when(
        "retry",
        ({ draft }) => /[a-z]/u.test(draft.text),
        (b) => b.stage("again", stage),
      )
      .when(
        "never",
        ({ draft }) => /no such text/u.test(draft.text),
        (b) => b.stage("lost", stage),
      )
      .fanOut("views", { items }, (b) => b.input("item").stage("view", stage))
      .fanOut("fixed", { items: () => ["three"] }, (b) => b.input("thing").stage("look", stage))
      .fanOut("tries", { samples: 2 }, (b) => b.stage("try", { ...stage, temperature: 1, seed: 5 }))
      .use("sub", inside, { text: "question", extra: () => "4 letters" })
      .join("answer", { ...stage, reads: ["views", "tries"] });
    const steps = [
      { input: "question" },
      { stage: "draft", ...stage },
      { when: "retry", if: { stage: "draft", matches: "[a-z]" }, steps: [{ stage: "again", ...stage }] },
      {
        when: "never",
        if: { stage: "draft", matches: "no such text" },
        steps: [{ stage: "lost", ...stage }],
      },
      { fanOut: "views", items: "items", steps: [{ input: "item" }, { stage: "view", ...stage }] },
      { fanOut: "fixed", items: ["three"], steps: [{ input: "thing" }, { stage: "look", ...stage }] },
      { fanOut: "tries", samples: 2, steps: [{ stage: "try", ...stage, temperature: 1, seed: 5 }] },
      {
        use: "sub",
        inputs: { text: "question", extra: { from: "shout" } },
        steps: [{ input: "text" }, { input: "extra" }, { stage: "vote", ...stage }],
      },
      { join: "answer", ...stage, reads: ["views", "tries"] },
    ];
    const whole = { model: "tiny", steps };
    expect(new Ajv({ strict: false }).compile(chainSchema)(whole)).toBe(true);
    const ours = chainFromDocument(model, whole, { functions: { items, shout: () => "4 letters" } });
    const texts = (value: unknown) =>
      JSON.stringify(value, (key, one) => (key === "usage" ? undefined : one));
    const code = wanted.run({ question });
    expect(texts(await ours.run({ question }).result)).toBe(texts(await code.result));
    expect(await code.result).toMatchObject({ retry: { again: {} }, views: [{}, {}], tries: [{}, {}] });
    expect((await code.result).never).toBeUndefined();
  });

  test("may have every option that a stage has in code, rows of a prompt excepted", () => {
    const known = (() => {
      try {
        defineChain(model).stage("a", { bogus: 1 } as object);
      } catch (error) {
        return (error as { facts: { available: string[] } }).facts.available;
      }
      return [];
    })();
    const schemas = (chainSchema.definitions as { step: { oneOf: { properties: object }[] } }).step.oneOf;
    const stage = schemas.find(({ properties }) => "stage" in properties)?.properties ?? {};
    expect(Object.keys(stage).sort()).toEqual([...known, "stage"].sort());
  });

  test("keeps its model and load options for whoever loads it", () => {
    expect(parseChainDocument(document)).toMatchObject({ model: "tiny", options: { threads: 1 } });
    const options = { cacheBytes: 9 << 20, indexBytes: 0, cachePolicy: "cost", restore: "never" };
    expect(parseChainDocument({ ...document, options })).toMatchObject({ options });
  });

  test("finds a prompt's folder beside it", () => {
    const chain = chainFromDocument(
      model,
      { model: "tiny", steps: [{ stage: "a", prompt: "prompts/none" }] },
      { directory: "/somewhere" },
    );
    return expect(chain.run({}).result).rejects.toMatchObject({
      message: expect.stringContaining("/somewhere/prompts/none"),
    });
  });
});

type Change = (copy: typeof document) => unknown;

/** What is wrong, the place that the message must name, and what else it must say. */
const mistakes: [string, Change, string, RegExp][] = [
  ["no object", () => [], "The document", /must be object/],
  ["no model", ({ model: _, ...rest }) => rest, "The document", /required property 'model'/],
  ["no steps", (d) => ({ ...d, steps: [] }), "steps", /fewer than 1/],
  ["an unknown field", (d) => ({ ...d, stages: [] }), "The document", /unknown field "stages".*steps/],
  ["an unknown layout", (d) => ({ ...d, layout: "dense" }), "layout", /"contiguous" or "concatenated"/],
  [
    "an unknown load option",
    (d) => ({ ...d, options: { gpu: 1 } }),
    "options",
    /unknown field "gpu".*threads/,
  ],
  [
    "a policy of the cache that there is not",
    (d) => ({ ...d, options: { cachePolicy: "best" } }),
    "options.cachePolicy",
    /"lru" or "cost"/,
  ],
  [
    "a folder to write to: that is for whoever runs it",
    (d) => ({ ...d, options: { tiers: { disk: { folder: "/", bytes: 9 } } } }),
    "options",
    /unknown field "tiers"/,
  ],
  ["a step that is a text", (d) => ({ ...d, steps: ["a"] }), "steps[0]", /must be object/],
];

/** The same for the fields of one step, put in place of the last. */
const wrongSteps: [string, object, string, RegExp][] = [
  ["of no kind", { name: "a" }, "steps[4]", /one of the fields "input", "stage", .*none of them/],
  ["of two kinds", { stage: "a", input: "a" }, "steps[4]", /it has "input" and "stage"/],
  ["with an unknown field", { stage: "a", maxToken: 3 }, "steps[4]", /unknown field "maxToken".*maxTokens/],
  ["with a number as text", { stage: "a", maxTokens: "3" }, "steps[4].maxTokens", /"3".*must be integer/],
  ["with a name that is none", { stage: "a b" }, "steps[4].stage", /"a b".*A letter/],
  ["with a list that is none", { stage: "a", reads: "question" }, "steps[4].reads", /must be array/],
  ["with a wrong name in a list", { stage: "a", reads: ["question", 7] }, "steps[4].reads[1]", /7.*string/],
  [
    "with a prompt of another shape",
    { stage: "a", prompt: { rows: [] } },
    "steps[4].prompt",
    /required property .text./,
  ],
];

describe("a mistake in a document is CHAIN_INVALID with its place", () => {
  const isValid = new Ajv({ strict: false }).compile(chainSchema);

  test("the published schema takes what is right", () => {
    expect(isValid(document)).toBe(true);
  });

  const all = [
    ...mistakes,
    ...wrongSteps.map(([what, step, place, says]): [string, Change, string, RegExp] => [
      `a step ${what}`,
      (d) => ({ ...d, steps: [...d.steps.slice(0, 4), step] }),
      place,
      says,
    ]),
  ];
  for (const [what, change, place, says] of all) {
    test(what, () => {
      const wrong = change(structuredClone(document));
      const build = () => chainFromDocument(model, wrong, { functions });
      expect(build).toThrowError(expect.objectContaining({ code: "CHAIN_INVALID" }));
      expect(build).toThrowError(says);
      try {
        build();
      } catch (error) {
        expect((error as { facts: { path: string } }).facts.path).toBe(place);
      }
      expect(isValid(wrong), "the published schema refuses it too").toBe(false);
    });
  }

  test("a function that was not given, with those that were", () => {
    expect(() =>
      chainFromDocument(model, document, { functions: { other: () => "", count: 3 } }),
    ).toThrowError(/steps\[3\]\.from names the function "shout".*\(other\)/);
    expect(() => chainFromDocument(model, document)).toThrowError(/\(none\)/);
    const inherited = structuredClone(document);
    (inherited.steps[3] as { from: string }).from = "toString";
    expect(() => chainFromDocument(model, inherited, { functions })).toThrowError(/"toString"/);
  });

  const rounds = (fields: object) => ({
    model: "tiny",
    steps: [
      { input: "question" },
      { stage: "a" },
      { rounds: "r", max: 2, steps: [{ stage: "b" }], ...fields },
      { stage: "c" },
    ],
  });

  test("a condition on a stage that has not written by then, or with no expression", () => {
    for (const stage of ["a", "b"]) chainFromDocument(model, rounds({ until: { stage, matches: "x" } }));
    for (const stage of ["c", "question", "none"]) {
      expect(() => chainFromDocument(model, rounds({ until: { stage, matches: "x" } }))).toThrowError(
        new RegExp(`steps\\[2\\]\\.until\\.stage is "${stage}".*\\(a, b\\)`),
      );
    }
    expect(() => chainFromDocument(model, rounds({ until: { stage: "b", matches: "(" } }))).toThrowError(
      /steps\[2\]\.until\.matches is no regular expression/,
    );
  });

  test("steps inside of a block are named by their place; a block that holds itself is refused", () => {
    expect(() => chainFromDocument(model, rounds({ steps: [{ stage: "b" }, { stage: 7 }] }))).toThrowError(
      /steps\[2\]\.steps\[1\]\.stage is 7/,
    );
    const block: { rounds: string; max: number; steps: object[] } = { rounds: "r", max: 1, steps: [] };
    block.steps.push(block);
    expect(() => chainFromDocument(model, { model: "tiny", steps: [block] })).toThrowError(
      /inside of 17 blocks.*hold itself/,
    );
  });

  test("what the builder refuses: a later name, a value out of range", () => {
    const steps = [{ input: "question" }, { stage: "a", reads: ["b"] }, { stage: "b" }];
    expect(() => chainFromDocument(model, { model: "tiny", steps })).toThrowError(/cannot read "b"/);
    const hot = [{ input: "question" }, { stage: "a", temperature: -1 }];
    expect(() => chainFromDocument(model, { model: "tiny", steps: hot })).toThrowError(/temperature/);
  });
});

test("the published file is the schema of the code", () => {
  const path = fileURLToPath(new URL("../../schema/chain.schema.json", import.meta.url));
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(chainSchema);
});
