// SPDX-License-Identifier: Apache-2.0
// `output` of stages and handles on a model of random weights: what comes is what was asked for, typed by it, and what
// cannot be is refused before anything is computed, naming the place.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import * as z from "zod";
import type { Model, OutputSchema } from "../../src/index.js";
import {
  ConstraintInvalidError,
  ConstraintUnavailableError,
  chainFromDocument,
  defineChain,
  OutputInvalidError,
  parseChainDocument,
} from "../../src/index.js";
import { loadNative } from "../../src/native/load.js";
import { loadTiny } from "../chain/tiny-model.js";
import { closers, failure, generated, needGrammars, opened, wild } from "./support.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny({ drafting: "auto" });
});
afterAll(() => model.close());

const person = z.object({
  name: z.string().max(12),
  age: z.int().min(0).max(150),
  tags: z.array(z.enum(["old", "new"])).max(3),
  mail: z.nullable(z.boolean()),
});

test("without grammars, an output is refused by name and with the remedy", async (context) => {
  if (loadNative().doctor().grammars.length > 0) context.skip("this build has grammars");
  const error = await failure(generated(model, { regex: "a" }));
  expect(ConstraintUnavailableError.isInstance(error)).toBe(true);
  expect(error.message).toContain("npx baton build");
});

describe("outputs", () => {
  beforeEach(needGrammars);

  test("a zod schema: parsed, validated and typed", async () => {
    for (let seed = 0; seed < 8; seed++) {
      const { object, text, reason } = await generated(model, person, seed);
      expect(object).toEqual(person.parse(JSON.parse(text)));
      expect(Object.keys(object)).toEqual(["name", "age", "tags", "mail"]); // nothing that zod would drop
      expect(object.age + 1).toBeGreaterThan(0);
      expect(reason).toBe("closed");
    }
  });

  test("transforms and defaults of a schema are its output's", async () => {
    const length = z.object({
      word: z
        .string()
        .max(5)
        .transform((text) => text.length),
    });
    const { object, text } = await generated(model, length);
    expect(object.word).toBe((JSON.parse(text) as { word: string }).word.length);
  });

  test("recursive zod schemas, and schemas whose objects are combined", async () => {
    const tree = z.object({
      leaf: z.boolean(),
      get below() {
        return z.array(tree).max(1);
      },
    });
    expect(tree.safeParse((await generated(model, tree, 3)).object).success).toBe(true);
    const both = z.intersection(z.object({ a: z.boolean() }), z.object({ b: z.null() }));
    expect((await generated(model, both)).object).toEqual({ a: expect.any(Boolean), b: null });
  });

  test("a JSON Schema, with $ref; and one whose result a schema validates", async () => {
    const jsonSchema = {
      type: "object",
      properties: { next: { anyOf: [{ $ref: "#" }, { $ref: "#/$defs/end" }] } },
      required: ["next"],
      additionalProperties: false,
      $defs: { end: { const: "end" } },
    };
    const { object, text } = await generated(model, { jsonSchema });
    expect(object).toEqual(JSON.parse(text));
    const schema = z.object({ next: z.unknown() }).transform(({ next }) => typeof next);
    const typed: string = (await generated(model, { jsonSchema, schema })).object;
    expect(["string", "object"]).toContain(typed);
  });

  test("regular expressions, as JavaScript has them", async () => {
    for (const regex of [/^\d{4}-\d\d$/, /(yes|no), \w{1,8}[.!]/, /a\/b|\$c\\d/u, /^(é|🙂){2,4}$/]) {
      for (let seed = 0; seed < 4; seed++) {
        const { object, text } = await generated(model, { regex }, seed);
        expect(object).toBe(text);
        expect(text.match(regex)?.[0]).toBe(text);
      }
    }
  });

  test("greedy and drafted outputs are those of one row at a time", async () => {
    const output = { regex: "(one two three ){3,6}four" };
    using handle = await opened(model, "one two three one two three one two three");
    const drafted = await handle.fork().generate({ output, closers, drafting: "auto" }).result;
    const plain = await handle.fork().generate({ output, closers, drafting: "off" }).result;
    expect(drafted.tokens).toEqual(plain.tokens);
    expect(drafted.object).toMatch(/^(one two three ){3,6}four$/);
  });

  test("a stage's object goes to later steps, and is there again in a run that goes on", async () => {
    const ages: number[] = [];
    const chain = defineChain(model)
      .stage("first", { ...wild, output: person, opener: "Ada:" })
      .input("next", {
        from: ({ first }) => {
          ages.push(first.object.age);
          return `${first.object.age} years`;
        },
      })
      .rounds("again", (round) => round.stage("pick", { ...wild, output: { regex: "[ab]{3}" } }), {
        max: 2,
        until: ({ pick }) => pick.object === "aaaa",
      })
      .stage("last", { closers, maxTokens: 4 });
    const { first, again, last } = await chain.run({}).result;
    expect(ages).toEqual([first.object.age]);
    expect(again.rounds.map(({ pick }) => pick.object)).toEqual(again.rounds.map(({ pick }) => pick.text));
    expect(last.object).toBeUndefined();

    const whole = chain.run({});
    const snapshot: Uint8Array[] = [];
    for await (const event of whole) {
      if (event.type !== "stage-end" || event.stage !== "first") continue;
      await whole.snapshot(new WritableStream({ write: (chunk: Uint8Array) => void snapshot.push(chunk) }));
    }
    const stream = new ReadableStream<Uint8Array>({
      pull: (to) => {
        const chunk = snapshot.shift();
        if (chunk === undefined) to.close();
        else to.enqueue(chunk);
      },
    });
    const resumed = await chain.resume(stream).result;
    expect(resumed.first.object).toEqual(first.object);
    expect(resumed.again.rounds.map(({ pick }) => pick.text)).toEqual(
      again.rounds.map(({ pick }) => pick.text),
    );
  });

  test("a chain document says the same", async () => {
    const jsonSchema = { type: "array", items: { type: "boolean" }, minItems: 2, maxItems: 2 };
    const document = parseChainDocument({
      model: "tiny",
      steps: [
        { stage: "pair", ...wild, output: { jsonSchema } },
        { stage: "word", ...wild, output: { regex: "[xy]{2}" } },
      ],
    });
    const { pair, word } = (await chainFromDocument(model, document).run({}).result) as Record<
      string,
      { object?: unknown }
    >;
    expect(pair?.object).toEqual([expect.any(Boolean), expect.any(Boolean)]);
    expect(word?.object).toMatch(/^[xy]{2}$/);
  });

  test("what ended in the middle is an error with the text, and the handle has it", async () => {
    using handle = await opened(model);
    const rows = handle.rows;
    const output = { jsonSchema: { type: "array", minItems: 40, items: { type: "integer" } } };
    const error = await failure(handle.generate({ ...wild, output, maxTokens: 10 }).result);
    expect(OutputInvalidError.isInstance(error) && error.text.startsWith("[")).toBe(true);
    expect(error.facts).toMatchObject({ reason: "length" });
    expect(error.message).toContain("maxTokens");
    expect(handle.rows).toBe(rows + 10);
    const chain = defineChain(model).stage("list", { ...wild, output, maxTokens: 10 });
    expect(await failure(chain.run({}).result)).toMatchObject({
      code: "OUTPUT_INVALID",
      facts: { step: "list" },
    });
  });

  test("a text that is whole at the last token is whole", async () => {
    expect((await generated(model, { regex: "a{1,400}" })).object).toMatch(/^a+$/);
    using handle = await opened(model);
    const { object, reason } = await handle.generate({ closers, maxTokens: 1, output: { regex: "[a-z]+" } })
      .result;
    expect(object).toMatch(/^[a-z]+$/);
    expect(reason).toBe("length");
  });

  test("refinements that no grammar can say: an error with the issues and the text", async () => {
    const never = z.object({ a: z.boolean().refine(() => false, "never") });
    const error = await failure(generated(model, never));
    expect(OutputInvalidError.isInstance(error) && error.issues).toMatchObject([
      { path: ["a"], message: "never" },
    ]);
    expect(error.message).toContain("a: never");
    expect(JSON.parse(String(error.facts.text))).toEqual({ a: expect.any(Boolean) });
  });
});

describe("what cannot be is refused before anything is computed", () => {
  beforeEach(needGrammars);

  const impossible: [string, OutputSchema, string][] = [
    ["no text at all", { jsonSchema: false }, "Unsatisfiable"],
    ["a range without numbers", { jsonSchema: { type: "integer", minimum: 2, maximum: 1 } }, "minimum (2)"],
    [
      "a required property that may not be",
      { jsonSchema: { required: ["a"], properties: { a: false }, type: "object" } },
      "'a'",
    ],
    [
      "patterns that exclude each other",
      { jsonSchema: { allOf: [{ type: "string", pattern: "^a$" }, { pattern: "^b$" }] } },
      "empty",
    ],
    [
      "a keyword that grammars cannot follow",
      { jsonSchema: { type: "array", uniqueItems: true } },
      "uniqueItems",
    ],
    ["a type that is none", { jsonSchema: { type: "text" } }, "text"],
    ["a $ref to nowhere", { jsonSchema: { $ref: "#/$defs/x" } }, "$defs"],
    ["a $ref to another document", { jsonSchema: { $ref: "https://example.org/x.json" } }, "example.org"],
    ["an expression that does not end", { regex: "a(b" }, "unclosed group"],
    ["an expression that looks ahead", { regex: "a(?=b)" }, "look-around"],
    ["an expression that looks back", { regex: /(a)\1/ }, "backreferences"],
    ["an expression without texts", { regex: "[^\\s\\S]" }, "no text"],
    ["flags", { regex: /a/i }, "(?i:"],
  ];
  test.each(impossible)("%s", async (_, output, said) => {
    const chain = defineChain(model).stage("before", { closers, maxTokens: 2 });
    const { turns } = model.activity();
    const error = await failure(
      (async () => await chain.stage("made", { ...wild, output }).run({}).result)(),
    );
    expect(ConstraintInvalidError.isInstance(error)).toBe(true);
    expect(error.message).toContain('Stage "made"');
    expect(error.message).toContain(said);
    expect(error.facts.option).toMatch(/^output\.(jsonSchema|regex)$/);
    expect(model.activity().turns).toBe(turns);
  });

  test("options that do not go together, and outputs that are none", async () => {
    const stage = (options: object) => () => defineChain(model).stage("s", options);
    const output = { regex: "a" };
    expect(stage({ output, stop: "b" })).toThrow(/`stop`.*beside `output`/);
    expect(stage({ output, lead: " " })).toThrow(/`lead`.*beside `output`/);
    expect(stage({ output: "a" })).toThrow(/`output` "a"/);
    expect(stage({ output: { regex: "" } })).toThrow(/`output.regex` ""/);
    expect(stage({ output: { jsonSchema: 1 } })).toThrow(/`output.jsonSchema` 1/);
    expect(stage({ output: { jsonSchema: {}, schema: {} } })).toThrow(/`output.schema`/);
    expect(stage({ output: { regex: "a", other: 1 } })).toThrow(/unknown option `other`/);
    expect(stage({ output: z.date() })).toThrow(/zod.*JSON Schema/);
    const plain = { "~standard": { version: 1, vendor: "other", validate: () => ({ value: 1 }) } };
    expect(stage({ output: plain })).toThrow(/other.*\{ jsonSchema, schema \}/);
    const circle: { a?: unknown } = {};
    circle.a = circle;
    expect(stage({ output: { jsonSchema: circle } })).toThrow(/no JSON/);
  });

  test("a ban of all that the grammar allows", async () => {
    using handle = await opened(model);
    const logitBias = Object.fromEntries(
      Array.from({ length: model.tokenizer.size }, (_, id) => id)
        .filter((id) => model.tokenizer.decode([id]).includes("a"))
        .map((id) => [id, Number.NEGATIVE_INFINITY]),
    );
    const error = await failure(handle.generate({ closers, logitBias, output: { regex: "a+" } }).result);
    expect(error).toMatchObject({ code: "CONSTRAINT_INVALID" });
    expect(error.message).toContain("logitBias");
  });
});
