// SPDX-License-Identifier: Apache-2.0
// `response_format` by the official client: what is said is JSON of the schema, from a model that would say anything else;
// what cannot be followed is refused before anything is computed.

import { Ajv2020 } from "ajv/dist/2020.js";
import type OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { defineChain } from "../../src/index.js";
import { closers, needGrammars } from "../constrain/support.js";
import type { TestServer } from "./support.js";
import { refused, startServer, user } from "./support.js";

let here: TestServer;
beforeAll(async () => {
  const chains = (model: TestServer["model"]) => ({
    quiz: defineChain(model).input("q").stage("a", { maxTokens: 2, closers }),
  });
  here = await startServer({ chains });
});
afterAll(() => here[Symbol.asyncDispose]());

/** Wild, so that every text is another one. */
const wild = { model: "tiny", temperature: 1.5, max_tokens: 300, messages: [user("Who is it?")] };
const person = {
  type: "object",
  properties: { name: { type: "string", maxLength: 12 }, age: { type: "integer", minimum: 0, maximum: 120 } },
  required: ["name", "age"],
  additionalProperties: false,
};
const held = (schema: object, name = "person") => ({
  response_format: {
    type: "json_schema" as const,
    json_schema: { name, schema: schema as Record<string, unknown> },
  },
});
const chat = (more: object) =>
  here
    .client()
    .chat.completions.create({ ...wild, ...more } as OpenAI.ChatCompletionCreateParamsNonStreaming);

describe("a text that is held to a format", () => {
  test("is JSON of the schema", async (context) => {
    needGrammars(context);
    const fits = new Ajv2020().compile(person);
    for (let seed = 0; seed < 8; seed++) {
      const { choices, usage } = await chat({ ...held(person), seed });
      const value: unknown = JSON.parse(choices[0]?.message.content ?? "");
      expect(fits(value), JSON.stringify(value)).toBe(true);
      expect(choices[0]?.finish_reason).toBe("stop");
      expect(usage?.completion_tokens).toBeGreaterThan(0);
    }
  });

  test("is what the client's own helper takes for its schema", async (context) => {
    needGrammars(context);
    const schema = z.object({ answer: z.enum(["yes", "no"]), sure: z.boolean() });
    const format = zodResponseFormat(schema as never, "verdict");
    const answer = await here.client().chat.completions.parse({ ...wild, response_format: format });
    expect(schema.safeParse(answer.choices[0]?.message.parsed).success).toBe(true);
  });

  test("streams the same text, with the usage of its tokens", async (context) => {
    needGrammars(context);
    const asked = { ...held(person), seed: 3 };
    const whole = await chat(asked);
    const stream = await here.client().chat.completions.create({
      ...{ ...wild, ...asked, stream: true as const, stream_options: { include_usage: true } },
    });
    let text = "";
    let tokens = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    expect(text).toBe(whole.choices[0]?.message.content);
    expect(tokens).toBe(whole.usage?.completion_tokens);
  });

  test("is any object for json_object", async (context) => {
    needGrammars(context);
    const { choices } = await chat({ response_format: { type: "json_object" }, seed: 1, max_tokens: 400 });
    const { message, finish_reason } = choices[0] as OpenAI.ChatCompletion.Choice;
    expect(message.content).toMatch(/^\s*\{/);
    if (finish_reason === "stop") expect(JSON.parse(message.content ?? "")).toBeTypeOf("object");
  });

  test("and is cut off, is told as it is, whole and streamed, with its log-probabilities", async (context) => {
    needGrammars(context);
    const asked = { ...held(person), seed: 3, max_tokens: 4, logprobs: true };
    const whole = await chat(asked);
    const [choice] = whole.choices;
    expect(choice?.finish_reason).toBe("length");
    expect(whole.usage?.completion_tokens).toBe(4);
    expect(choice?.logprobs?.content).toHaveLength(4);
    expect(choice?.message.content).toMatch(/^\s*\{/);
    const stream = await here.client().chat.completions.create({ ...wild, ...asked, stream: true });
    let text = "";
    let reason = "";
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      reason = chunk.choices[0]?.finish_reason ?? reason;
    }
    expect([text, reason]).toEqual([choice?.message.content, "length"]);
    expect(here.model.activity().jobs).toBe(0);
  });
});

describe("a format that cannot be followed is refused before anything is computed", () => {
  test.each([
    ["a schema that no text can satisfy", { type: "integer", minimum: 5, maximum: 2 }],
    ["an unknown type", { type: "person" }],
    ["a reference into nowhere", { $ref: "#/$defs/none" }],
  ])("%s, streamed or not", async (_, schema) => {
    const { turns } = here.model.activity();
    for (const stream of [false, true]) {
      const error = await refused(chat({ ...held(schema), stream }));
      const noGrammars = error.code === "unsupported_parameter";
      expect([error.status, error.param]).toEqual([400, "response_format"]);
      if (!noGrammars) expect(error.code).toBe("invalid_json_schema");
      expect(error.message).toMatch(/response_format/);
    }
    expect(here.model.activity().turns).toBe(turns);
  });

  test.each([
    ["another type", { type: "xml" }],
    ["a schema without a name", { type: "json_schema", json_schema: { schema: {} } }],
    ["a schema that is none", { type: "json_schema", json_schema: { name: "a", schema: [1] } }],
  ])("%s", async (_, format) => {
    const error = await refused(chat({ response_format: format }));
    expect([error.status, error.code]).toEqual([400, "invalid_value"]);
    expect(error.param).toMatch(/^response_format/);
  });

  test("beside stop strings, and of a chain", async () => {
    for (const stream of [false, true]) {
      const beside = await refused(chat({ ...held(person), stop: ["x"], stream }));
      expect([beside.status, beside.code, beside.param]).toEqual([400, "invalid_value", "stop"]);
    }
    const chained = await refused(
      chat({ model: "chain:quiz", temperature: null, max_tokens: null, ...held(person) }),
    );
    expect([chained.status, chained.param]).toEqual([400, "response_format"]);
  });
});

test("values of a thousand brackets in brackets are refused like any other", async () => {
  const deep = "[".repeat(9000) + "]".repeat(9000);
  for (const field of ['"tools"', '"response_format"', '"reasoning_effort"', '"logit_bias"']) {
    const text = `{"model":"tiny","messages":[{"role":"user","content":"x"}],${field}:${deep}}`;
    const { status, body } = await here.post("/v1/chat/completions", text);
    expect([field, status, body.error?.type]).toEqual([field, 400, "invalid_request_error"]);
  }
});
