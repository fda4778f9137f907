// SPDX-License-Identifier: Apache-2.0
// Tools by the official client: a loop of call, result and answer goes through with a real model whose template knows no
// tools; forced calls are of their tool's schema; what asks for something that is not there is refused.

import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { defineChain, loadModel } from "../../src/index.js";
import type { BatonServer } from "../../src/serve/index.js";
import { createServer } from "../../src/serve/index.js";
import { needGrammars } from "../constrain/support.js";
import { refused, user } from "./support.js";

let model: Model;
let server: BatonServer;
let client: OpenAI;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { batchInvariant: true });
  const quiz = defineChain(model).input("q").stage("a", { maxTokens: 2 });
  server = await createServer({ models: { smol: model }, chains: { quiz }, reloadMs: 0 });
  const { url } = await server.listen({ port: 0 });
  client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(async () => {
  await server.close({ limitMs: 0 });
  await model.close();
});

const weather = {
  type: "function" as const,
  function: {
    name: "weather",
    description: "The weather of a city.",
    parameters: {
      type: "object",
      properties: { city: { type: "string", maxLength: 20 } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};
const time = {
  type: "function" as const,
  function: { name: "time", parameters: { type: "object", properties: {} } },
};
const forced = { type: "function" as const, function: { name: "weather" } };
const asked = {
  model: "smol",
  temperature: 0,
  max_tokens: 60,
  messages: [user('How is the weather? Call weather with the arguments {"city": "Paris"}')],
};

describe("a call", () => {
  test("that is asked for is of its tool's schema, and its result is read behind it", async (context) => {
    needGrammars(context);
    const first = await client.chat.completions.create({
      ...asked,
      tools: [weather, time],
      tool_choice: forced,
    });
    const { message, finish_reason } = first.choices[0] as OpenAI.ChatCompletion.Choice;
    const [call] = message.tool_calls ?? [];
    if (call?.type !== "function") throw new Error("there is no call");
    expect([finish_reason, message.content, call.function.name]).toEqual(["tool_calls", null, "weather"]);
    expect(JSON.parse(call.function.arguments)).toEqual({ city: "Paris" });
    expect(first.usage?.completion_tokens).toBeGreaterThan(0);
    const result = { role: "tool" as const, tool_call_id: call.id, content: '{"degrees":7}' };
    const messages = [...asked.messages, message, result];
    const second = await client.chat.completions.create({ ...asked, messages, tools: [weather, time] });
    expect(second.choices[0]?.message.content?.length).toBeGreaterThan(0);
    // the second request begins with the rows of the first one
    expect(second.usage?.prompt_tokens_details?.cached_tokens).toBeGreaterThan(
      (first.usage?.prompt_tokens ?? 0) - 48,
    );
    expect(second.usage?.prompt_tokens).toBeGreaterThan(first.usage?.prompt_tokens ?? 0);
  });

  test("streams in the form that the client puts together", async (context) => {
    needGrammars(context);
    const call = { ...asked, tools: [weather], tool_choice: "required" as const };
    const whole = await client.chat.completions.create(call);
    const stream = client.chat.completions.stream(call);
    const { choices } = await stream.finalChatCompletion();
    const called = (one: OpenAI.ChatCompletion | { choices: typeof choices }) =>
      (one.choices[0]?.message.tool_calls ?? []).map((each) => each.type === "function" && each.function);
    expect(called({ choices })).toMatchObject(called(whole));
    expect(called(whole)).toHaveLength(1);
    expect(choices[0]?.finish_reason).toBe("tool_calls");
    expect(choices[0]?.message.content ?? "").toBe("");
  });

  test("that was cut off is the text that it is, and the reason says so", async (context) => {
    needGrammars(context);
    const { choices } = await client.chat.completions.create({
      ...{ ...asked, tools: [weather], tool_choice: forced, max_tokens: 2 },
    });
    expect(choices[0]?.finish_reason).toBe("length");
    expect(choices[0]?.message.tool_calls).toBeUndefined();
    expect(choices[0]?.message.content).toMatch(/^<tool_call>\n\{"name": "weather", "arguments": /);
  });

  test("is the model's to make without a choice, and it is told of the tools; with none it is not", async () => {
    const rows = async (more: object) => {
      const answer = await client.chat.completions.create({ ...asked, max_tokens: 1, ...more });
      return answer.usage?.prompt_tokens ?? 0;
    };
    const without = await rows({});
    expect(await rows({ tools: [weather], tool_choice: "none" })).toBe(without);
    expect(await rows({ tools: [] })).toBe(without);
    expect(await rows({ tools: [weather] })).toBeGreaterThan(without + 50);
  });

  test("of the past is shown to the model without tools now", async () => {
    const calls = [{ id: "call_1", type: "function" as const, function: { name: "time", arguments: "{}" } }];
    const messages = [
      user("What time is it?"),
      { role: "assistant" as const, content: null, tool_calls: calls },
      { role: "tool" as const, tool_call_id: "call_1", content: "noon" },
    ];
    const answer = await client.chat.completions.create({ ...asked, max_tokens: 4, messages });
    const shorter = await client.chat.completions.create({
      ...asked,
      max_tokens: 4,
      messages: messages.slice(0, 1),
    });
    expect(answer.usage?.prompt_tokens).toBeGreaterThan((shorter.usage?.prompt_tokens ?? 0) + 15);
  });
});

describe("is refused by name", () => {
  const call = { id: "a", type: "function", function: { name: "time", arguments: "{}" } };
  test.each<[string, string, object]>([
    ["a choice without tools", "tool_choice", { tool_choice: "required" }],
    ["a choice of a tool that is not there", "tool_choice", { tools: [time], tool_choice: forced }],
    ["two tools of a name", "tools[1].function.name", { tools: [time, time] }],
    ["stop strings beside a forced call", "stop", { tools: [weather], tool_choice: forced, stop: ["x"] }],
    ["a format beside tools", "response_format", { tools: [time], response_format: { type: "json_object" } }],
    ["log-probabilities of calls", "logprobs", { tools: [time], logprobs: true }],
    [
      "a result of no call",
      "messages[0].tool_call_id",
      { messages: [{ role: "tool", tool_call_id: "x", content: "1" }] },
    ],
    [
      "a call of the user's",
      "messages[0].tool_calls",
      { messages: [{ role: "user", content: "x", tool_calls: [call] }] },
    ],
    ["a message without a text", "messages[0].content", { messages: [{ role: "user", content: null }] }],
    [
      "an answer to a call by the user",
      "messages[0].tool_call_id",
      { messages: [{ role: "user", content: "x", tool_call_id: "a" }] },
    ],
    [
      "tools of a chain",
      "tools",
      { model: "chain:quiz", temperature: null, max_tokens: null, tools: [time] },
    ],
  ])("%s", async (_, param, more) => {
    const request = { ...asked, ...more } as OpenAI.ChatCompletionCreateParamsNonStreaming;
    const error = await refused(client.chat.completions.create(request));
    expect([error.status, error.param]).toEqual([400, param]);
  });

  test("parameters that no call can follow, before anything is computed", async (context) => {
    needGrammars(context);
    const parameters = {
      type: "object",
      properties: { n: { type: "integer", minimum: 5, maximum: 2 } },
      required: ["n"],
    };
    const tools = [{ type: "function" as const, function: { name: "time", parameters } }];
    const { turns } = model.activity();
    const error = await refused(client.chat.completions.create({ ...asked, tools, tool_choice: "required" }));
    expect([error.status, error.code, error.param]).toEqual([
      400,
      "invalid_json_schema",
      "tools[0].function.parameters",
    ]);
    expect(model.activity().turns).toBe(turns);
  });
});
