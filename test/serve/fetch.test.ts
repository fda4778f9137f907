// SPDX-License-Identifier: Apache-2.0
// The server without a socket, as the handler of a web framework: Request in, Response out, streams pulled by the reader.

import { afterEach, expect, test } from "vitest";
import type { TestServer } from "./support.js";
import { bare, eventually, hello, startServer } from "./support.js";

let here: TestServer | null = null;
afterEach(async () => {
  await here?.[Symbol.asyncDispose]();
  here = null;
});

function chat(body: object, init: RequestInit = {}): Request {
  const headers = { "content-type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(body), ...init };
  return new Request("https://models.example/v1/chat/completions", options);
}

test("answers whole and in a stream, from any host", async () => {
  const server = await startServer();
  here = server;
  const text = await bare(server.model, hello.messages[0]?.content ?? "");
  const whole = await server.server.fetch(chat(hello));
  expect(whole.status).toBe(200);
  expect(await whole.json()).toMatchObject({ choices: [{ message: { content: text } }] });
  const streamed = await server.server.fetch(chat({ ...hello, stream: true }));
  const events = (await streamed.text()).split("\n\n").slice(0, -2);
  const deltas = events.map(
    (event) => JSON.parse(event.slice("data: ".length)).choices[0].delta.content ?? "",
  );
  expect(deltas.join("")).toBe(text);
  expect((await server.server.fetch(chat({ ...hello, n: 2 }))).status).toBe(400);
  const large = await server.server.fetch(chat({ ...hello, user: "x".repeat(2 << 20) }));
  expect(large.status).toBe(413);
});

test("ends what nobody reads any more: by the request's signal, by leaving the stream, by reading nothing", async () => {
  const server = await startServer({ stallMs: 50 });
  here = server;
  const idle = () => eventually(() => server.model.stats().segments === 0 && server.logs.length > 0);
  const stop = new AbortController();
  stop.abort();
  const gone = await server.server.fetch(chat(hello, { signal: stop.signal }));
  expect(gone.status).toBe(499);
  const left = await server.server.fetch(chat({ ...hello, max_tokens: 400, stream: true }));
  const reader = left.body?.getReader();
  await reader?.read();
  await reader?.cancel();
  expect(await idle()).toBe(true);
  const unread = await server.server.fetch(chat({ ...hello, stream: true }));
  const stalled = unread.body?.getReader();
  await stalled?.read();
  expect(await eventually(() => server.logs.length === 3)).toBe(true);
  await expect(stalled?.read()).rejects.toThrow("read nothing");
});
