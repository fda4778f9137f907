// SPDX-License-Identifier: Apache-2.0
// Clients that go away, that read slowly or not at all, and a server that is told to end. The default model, whose outputs
// take long enough to be left in the middle.

import type { IncomingMessage } from "node:http";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { defineChain, loadModel } from "../../src/index.js";
import type { BatonServer, ServerOptions } from "../../src/serve/index.js";
import { createServer } from "../../src/serve/index.js";
import type { Reply, TestServer } from "./support.js";
import { eventually, rawPost, startHeld, startServer, user } from "./support.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { cacheBytes: 128 << 20, indexBytes: 0 });
});
afterAll(() => model.close());

let server: BatonServer | null = null;
let here: TestServer | null = null;
afterEach(async () => {
  await server?.close({ limitMs: 0 });
  await here?.[Symbol.asyncDispose]();
  [server, here] = [null, null];
});

async function start(options: ServerOptions = {}): Promise<number> {
  server = await createServer({ models: { smollm2: model }, reloadMs: 0, ...options });
  return (await server.listen({ port: 0 })).port;
}

const chat = "/v1/chat/completions";
const endless = {
  ...{ model: "smollm2", temperature: 0, ignore_eos: true, max_tokens: 4000, stream: true },
  messages: [{ role: "user", content: "Count from one to ten thousand." }],
};

const responseTo = (sent: ReturnType<typeof rawPost>) =>
  new Promise<IncomingMessage>((resolve, reject) => {
    sent.on("response", resolve);
    sent.on("error", reject);
  });

const idle = () =>
  model.activity().jobs === 0 && model.stats().usedBytes === 0 && model.stats().segments === 0;

/** Figures of the engine once it is idle, and once more a moment later. */
async function atRest() {
  expect(await eventually(idle)).toBe(true);
  const { decodeRows } = model.activity();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(model.activity().decodeRows).toBe(decodeRows);
  return decodeRows;
}

describe("a client that goes away", () => {
  test("in the middle of a stream ends its output, and its rows are free", async () => {
    const port = await start();
    const before = await atRest();
    const sent = rawPost(port, chat, endless);
    const answer = await responseTo(sent);
    await new Promise((resolve) => answer.once("data", resolve));
    expect(model.stats().usedBytes).toBeGreaterThan(0);
    sent.destroy();
    expect((await atRest()) - before).toBeLessThan(2000);
  });

  test("while an answer that is no stream is written does so, too", async () => {
    const port = await start();
    const before = await atRest();
    const sent = rawPost(port, chat, { ...endless, stream: false });
    expect(await eventually(() => model.activity().decodeRows > before)).toBe(true);
    sent.destroy();
    expect((await atRest()) - before).toBeLessThan(2000);
  });

  test("while its prompt is computed does so, too", async () => {
    const port = await start();
    await atRest();
    const messages = [user("The harbour of Marsk freezes for eleven weeks. ".repeat(300))];
    const sent = rawPost(port, chat, { ...endless, max_tokens: 8, messages });
    const { prefillRows, decodeRows } = model.activity();
    expect(await eventually(() => model.activity().prefillRows > prefillRows)).toBe(true);
    sent.destroy();
    await atRest();
    expect(model.activity().prefillRows - prefillRows).toBeLessThan(2000); // of more than 3,000
    expect(model.activity().decodeRows).toBe(decodeRows);
  });
});

describe("a client that reads nothing", () => {
  test("gets all of it later: what it has not read yet is one piece", async () => {
    const port = await start();
    const answer = await responseTo(rawPost(port, chat, { ...endless, max_tokens: 200 }));
    answer.pause();
    expect(await eventually(idle)).toBe(true); // its turn and its rows are not held for its sake
    let text = "";
    for await (const part of answer) text += String(part);
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  });

  test("is cut off when it reads nothing for too long, and is not in progress any more", async () => {
    // its answer, the log-probabilities of eight outputs, is larger than what the system takes for a connection
    const stage = { maxTokens: 400, closers: [], logprobs: 20, temperature: 1 };
    const chains = (tiny: Model) => ({
      wide: defineChain(tiny)
        .input("question")
        .fanOut("votes", { samples: 8 }, (branch) => branch.stage("vote", stage)),
    });
    const plain = await startServer({ stallMs: 300, chains });
    here = plain;
    const inputs = { question: "How long?" };
    const sent = rawPost(plain.port, "/v1/chains/wide", { inputs, stream: true });
    (await responseTo(sent)).pause();
    expect(await eventually(() => plain.logs.length === 1)).toBe(true);
    expect(await eventually(() => plain.model.stats().segments === 0)).toBe(true);
    const patient = await startServer({ stallMs: 300, chains }); // who reads gets all of it
    const whole = rawPost(patient.port, "/v1/chains/wide", { inputs, stream: true });
    let bytes = 0;
    for await (const part of await responseTo(whole)) bytes += part.length;
    expect(bytes).toBeGreaterThan(6 << 20);
    await patient[Symbol.asyncDispose]();
    sent.destroy();
  });
});

describe("draining", () => {
  test("finishes what is in progress, refuses what is new, and says so to whoever asks for its health", async () => {
    const held = await startHeld();
    here = held.here;
    const { url, server: draining } = held.here;
    const running = held.run();
    expect(await eventually(() => held.here.model.activity().runs === 1)).toBe(true);
    const closed = draining.close({ limitMs: 20_000 });
    const health = await fetch(`${url}/health`);
    expect([health.status, await health.json()]).toEqual([503, { status: "draining" }]);
    const refused: Reply = await held.run();
    expect([refused.status, refused.body.error?.code]).toEqual([503, "shutting_down"]);
    expect(refused.headers.get("retry-after")).not.toBeNull();
    held.release();
    expect((await running).body.results?.answer?.text).toBeTypeOf("string");
    await closed;
    await expect(fetch(`${url}/health`)).rejects.toThrow();
    expect(await eventually(() => held.here.model.stats().segments === 0)).toBe(true);
  });

  test("waits for its limit and not longer; what it stops hears why", async () => {
    const port = await start();
    const whole = responseTo(rawPost(port, chat, { ...endless, stream: false }));
    const streamed = await responseTo(rawPost(port, chat, endless));
    let text = "";
    streamed.on("data", (part: Buffer) => {
      text += part.toString();
    });
    await new Promise((resolve) => streamed.once("data", resolve));
    await server?.close({ limitMs: 100 });
    expect((await whole).statusCode).toBe(503);
    if (!streamed.closed) await new Promise((resolve) => streamed.once("close", resolve));
    expect(text).toContain('"code":"shutting_down"');
    expect(text).not.toContain("[DONE]");
    await atRest();
  });

  test("of an idle server takes no time, with a connection that is kept open, and comes once", async () => {
    const plain = await startServer();
    here = plain;
    await fetch(`${plain.url}/health`); // leaves its connection open
    await Promise.all([plain.server.close(), plain.server.close()]);
    await expect(fetch(`${plain.url}/health`)).rejects.toThrow();
  });
});
