// SPDX-License-Identifier: Apache-2.0
// What is not served: every refusal is a status, a code, the field and a remedy, in OpenAI's shape, and none of them is a
// failure of the server, whatever was sent.

import fc from "fast-check";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { changedJson } from "../helpers/mutations.js";
import type { ReplyBody, TestServer } from "./support.js";
import { greedy, hello, rawPost, refused, startServer } from "./support.js";

let here: TestServer;
beforeAll(async () => {
  here = await startServer({ maxBodyBytes: 20_000 });
});
afterAll(() => here[Symbol.asyncDispose]());

const chat = "/v1/chat/completions";
const text = { ...greedy, prompt: "Marsk" };

/** What is told, in short; every error has a message that is a sentence. */
function short({ status, body }: { status: number; body: ReplyBody }) {
  expect(body.error?.message).toMatch(/^.{20,}[.?]$/s);
  expect(body.error?.type).toBeTypeOf("string");
  return [status, body.error?.code, body.error?.param];
}

describe("fields of OpenAI's that would change the result are refused by name", () => {
  const cases: [string, string, object][] = [
    ["n", chat, { n: 2 }],
    ["functions", chat, { functions: [{ name: "f" }] }],
    ["modalities", chat, { modalities: ["text", "audio"] }],
    ["audio", chat, { audio: { voice: "alloy", format: "wav" } }],
    ["reasoning_effort", chat, { reasoning_effort: "high" }],
    ["verbosity", chat, { verbosity: "low" }],
    ["web_search_options", chat, { web_search_options: {} }],
    ["messages[0].role", chat, { messages: [{ role: "function", content: "4", name: "f" }] }],
    ["messages[0].name", chat, { messages: [{ role: "user", content: "Hello", name: "Ada" }] }],
    [
      "messages[0].content",
      chat,
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] },
    ],
    ["best_of", "/v1/completions", { best_of: 3 }],
    ["echo", "/v1/completions", { echo: true }],
    ["suffix", "/v1/completions", { suffix: "end" }],
    ["prompt", "/v1/completions", { prompt: ["one", "two"] }],
    ["inputs", chat, { inputs: { a: "b" } }],
  ];
  test.each(cases)("%s", async (param, path, more) => {
    const body = { ...(path === chat ? hello : text), ...more };
    expect(short(await here.post(path, body))).toEqual([400, "unsupported_parameter", param]);
  });

  test("and taken where they ask for what happens anyway, or for nothing", async () => {
    const neutral = {
      n: 1,
      tools: [],
      tool_choice: "auto",
      modalities: ["text"],
      response_format: { type: "text" },
    };
    const nothing = {
      user: "ada",
      metadata: { a: "b" },
      store: true,
      logit_bias: null,
      stop: null,
      seed: null,
    };
    expect((await here.post(chat, { ...hello, ...neutral, ...nothing })).status).toBe(200);
    expect(
      (await here.post("/v1/completions", { ...text, best_of: 1, echo: false, suffix: null })).status,
    ).toBe(200);
  });
});

describe("what is wrong is named by its place", () => {
  const cases: [string, string | null, object][] = [
    ["invalid_value", "messages", { messages: [] }],
    ["invalid_value", "messages[0].role", { messages: [{ role: "king", content: "Hello" }] }],
    ["invalid_value", "messages[0].content", { messages: [{ role: "user", content: 4 }] }],
    ["invalid_value", "temperature", { temperature: 3 }],
    ["invalid_value", "top_p", { top_p: 0 }],
    ["invalid_value", "max_tokens", { max_tokens: 0 }],
    ["invalid_value", "max_tokens", { max_tokens: 3, max_completion_tokens: 4 }],
    ["invalid_value", "top_logprobs", { top_logprobs: 3 }],
    ["invalid_value", "top_logprobs", { logprobs: true, top_logprobs: 21 }],
    ["invalid_value", "stream_options.include_usage", { stream_options: { include_usage: "yes" } }],
    ["invalid_value", "logit_bias", { logit_bias: { 99999: 1 } }],
    ["unknown_parameter", "temprature", { temprature: 1 }],
    ["unknown_parameter", "messages[0].text", { messages: [{ role: "user", content: "Hello", text: "x" }] }],
    ["prompt_not_found", "prompt", { prompt: "nobody" }],
  ];
  test.each(cases)("%s: %s", async (code, param, more) => {
    const status = code.endsWith("not_found") ? 404 : 400;
    expect(short(await here.post(chat, { ...hello, ...more }))).toEqual([status, code, param]);
  });
});

describe("bodies", () => {
  test("that are no JSON, of another type, or not there", async () => {
    expect(short(await here.post(chat, '{"model":'))).toEqual([400, "invalid_json", null]);
    expect(short(await here.post(chat, ""))).toEqual([400, "invalid_json", null]);
    expect(short(await here.post(chat, "[]"))).toEqual([400, "invalid_value", null]);
    expect(short(await here.post(chat, hello, { "content-type": "text/plain" }))).toEqual([
      ...[415, "unsupported_media_type"],
      null,
    ]);
    expect(short(await here.post(chat, "[".repeat(19_000)))).toEqual([400, "invalid_json", null]);
  });

  test("that are too large are refused before they are read, with a stated length and without", async () => {
    const large = { ...hello, messages: [{ role: "user", content: "x".repeat(30_000) }] };
    expect(short(await here.post(chat, large))).toEqual([413, "body_too_large", null]);
    const sent = rawPost(here.port, chat, undefined, { "transfer-encoding": "chunked" });
    const status = new Promise((resolve) => sent.on("response", (answer) => resolve(answer.statusCode)));
    for (let piece = 0; piece < 30; piece++) sent.write("x".repeat(1000));
    expect(await status).toBe(413);
    sent.destroy();
    const stated = rawPost(here.port, chat, undefined, { "content-length": "999999999" });
    stated.flushHeaders(); // not a byte of the body follows
    expect(
      await new Promise((resolve) => stated.on("response", (answer) => resolve(answer.statusCode))),
    ).toBe(413);
    stated.destroy();
    expect((await here.post(chat, hello)).status).toBe(200);
  });
});

describe("names", () => {
  const hostile = [
    "../../etc/passwd",
    "..%2f..%2fetc",
    "/etc/passwd",
    "a/../../b",
    "..",
    "a\\b",
    "a\u0000b",
    "",
    "x".repeat(300),
  ];

  test.each(hostile)("%j is no name of anything", async (name) => {
    for (const field of ["session", "prompt"])
      expect(short(await here.post(chat, { ...hello, [field]: name }))).toEqual([
        400,
        "invalid_value",
        field,
      ]);
    const asModel = await here.post(chat, { ...hello, model: `chain:${name}` });
    expect([400, 404]).toContain(asModel.status);
    expect((await here.post(chat, { ...hello, model: name })).status).toBeGreaterThanOrEqual(400);
    const path = await here.post(`/v1/chains/${encodeURIComponent(name)}`, { inputs: {} });
    expect([400, 404]).toContain(path.status);
    const gone = await fetch(`${here.url}/v1/sessions/${encodeURIComponent(name)}`, { method: "DELETE" });
    expect([400, 404]).toContain(gone.status);
  });
});

test("paths and methods that are none say which there are", async () => {
  const other = await fetch(`${here.url}/v1/embeddings`, { method: "POST" });
  expect(short({ status: other.status, body: (await other.json()) as ReplyBody })).toEqual([
    404,
    "unknown_path",
    null,
  ]);
  const method = await fetch(`${here.url}${chat}`);
  expect(method.headers.get("allow")).toBe("POST");
  expect(method.status).toBe(405);
});

test("the client's error classes are those of the statuses", async () => {
  const client = here.client();
  expect(await refused(client.chat.completions.create({ ...hello, n: 2 }))).toBeInstanceOf(
    OpenAI.BadRequestError,
  );
  expect(await refused(client.models.retrieve("tiny"))).toBeInstanceOf(OpenAI.NotFoundError);
});

test("whatever is sent, the server does not fail, and what it refuses has the shape of an error", async () => {
  const bodies = [
    {
      ...hello,
      max_tokens: 2,
      stream: false,
      logprobs: true,
      stop: ["x"],
      logit_bias: { 3: 1 },
      session: "s",
    },
    { ...text, max_tokens: 2, logprobs: 1, stream_options: { include_usage: true } },
  ] as const;
  const runs = Number(process.env.BATON_FUZZ ?? 1) * 150;
  const chats = fc.tuple(fc.constant(chat), changedJson(bodies[0]));
  const texts = fc.tuple(fc.constant("/v1/completions"), changedJson(bodies[1]));
  await fc.assert(
    fc.asyncProperty(fc.oneof(chats, texts), async ([path, given]) => {
      const { status, body } = await here.post(path, JSON.stringify(given) ?? "");
      expect(status).toBeLessThan(500);
      if (status !== 200) short({ status, body });
    }),
    { numRuns: runs },
  );
  expect((await here.post(chat, hello)).status).toBe(200);
});
