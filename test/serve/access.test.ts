// SPDX-License-Identifier: Apache-2.0
// Who may use the server, from where, and how much of it.

import { afterEach, describe, expect, test } from "vitest";
import { createServer, keysOfText } from "../../src/serve/index.js";
import { failure } from "../cache/snapshot-support.js";
import { loadTiny } from "../chain/tiny-model.js";
import type { TestServer } from "./support.js";
import { eventually, hello, metric, rawPost, refused, startHeld, startServer } from "./support.js";

let here: TestServer | null = null;
afterEach(async () => {
  await here?.[Symbol.asyncDispose]();
  here = null;
});

const keys = ["first-key-0123456789", "second-key-0123456789"];

describe("keys", () => {
  test("are asked for wherever something is computed or told, and none of several is forgotten", async () => {
    here = await startServer({ keys });
    for (const key of keys) await here.client(key).chat.completions.create(hello);
    for (const key of ["first-key-012345678", "first-key-01234567890", "x", keys.join(",")]) {
      const error = await refused(here.client(key).chat.completions.create(hello));
      expect([error.status, error.code]).toEqual([401, "invalid_api_key"]);
      expect(error.headers?.get("www-authenticate")).toBe("Bearer");
      expect(error.message).not.toContain(key === "x" ? "none" : key);
    }
    for (const path of ["/v1/models", "/metrics"]) expect((await fetch(here.url + path)).status).toBe(401);
    for (const path of ["/health", "/openapi.json"]) expect((await fetch(here.url + path)).status).toBe(200);
  });

  test("are never in the log, nor are texts", async () => {
    here = await startServer({ keys });
    await here.client(keys[0]).chat.completions.create(hello);
    await refused(here.client("a-wrong-key-that-is-long").chat.completions.create(hello));
    const log = JSON.stringify(here.logs);
    expect(here.logs).toHaveLength(2);
    for (const secret of [...keys, "a-wrong-key-that-is-long", "harbour"]) expect(log).not.toContain(secret);
  });

  test("that are no keys are refused at the start, by their place", async () => {
    const model = await loadTiny();
    for (const bad of ["", "short", "with a space in it, long enough", "käse-käse-käse-käse"]) {
      const error = await failure(createServer({ models: { tiny: model }, keys: [keys[0] ?? "", bad] }));
      expect([error.code, error.facts.index]).toEqual(["OPTION_INVALID", 1]);
      if (bad !== "") expect(error.message).not.toContain(bad);
    }
    await model.close();
    expect(keysOfText("# ours\nfirst-key\r\n\n  second-key  \n")).toEqual(["first-key", "second-key"]);
  });
});

describe("addresses", () => {
  test("that others reach need keys, or a word", async () => {
    here = await startServer();
    expect((await failure(here.server.listen({ host: "0.0.0.0", port: 0 }))).code).toBe("OPTION_INVALID");
    const open = await here.server.listen({ host: "0.0.0.0", port: 0, open: true });
    expect((await fetch(`http://127.0.0.1:${open.port}/health`)).status).toBe(200);
    expect((await failure(here.server.listen({ port: here.port }))).code).toBe("IO");
  });

  test("on loopback answer under its names only, as long as no key is asked for", async () => {
    const statusOf = async (host: string, headers: Record<string, string> = {}) => {
      const sent = rawPost(
        here?.port ?? 0,
        "/v1/chat/completions",
        { ...hello, max_tokens: 1 },
        { host, ...headers },
      );
      return new Promise((resolve) => sent.on("response", (answer) => resolve(answer.resume().statusCode)));
    };
    here = await startServer();
    expect(await statusOf("localhost")).toBe(200);
    expect(await statusOf("127.0.0.1:80")).toBe(200);
    expect(await statusOf("evil.example")).toBe(403);
    expect(await statusOf("localhost.evil.example")).toBe(403);
    await here[Symbol.asyncDispose]();
    here = await startServer({ keys });
    expect(await statusOf("models.example", { authorization: `Bearer ${keys[0]}` })).toBe(200);
  });

  test("of pages elsewhere are not allowed unless they are told", async () => {
    const preflight = (origin: string) =>
      fetch(`${here?.url}/v1/chat/completions`, {
        method: "OPTIONS",
        headers: { origin, "access-control-request-method": "POST" },
      });
    here = await startServer();
    expect((await preflight("https://a.example")).headers.get("access-control-allow-origin")).toBeNull();
    const plain = await fetch(`${here.url}/v1/models`, { headers: { origin: "https://a.example" } });
    expect(plain.headers.get("access-control-allow-origin")).toBeNull();
    await here[Symbol.asyncDispose]();
    here = await startServer({ cors: ["https://a.example"] });
    expect((await preflight("https://a.example")).headers.get("access-control-allow-origin")).toBe(
      "https://a.example",
    );
    expect((await preflight("https://b.example")).headers.get("access-control-allow-origin")).toBeNull();
  });
});

describe("queues", () => {
  test("take as many as they are told; the next one hears when to come again, and the others are answered", async () => {
    const held = await startHeld({ maxConcurrent: 1, maxQueued: 2 });
    here = held.here;
    const { url } = held.here;
    const running = held.run();
    expect(await eventually(async () => (await metric(url, "baton_computing")) === 1)).toBe(true);
    const waiting = [1, 2].map(() => held.here.client().chat.completions.create(hello));
    expect(await eventually(async () => (await metric(url, "baton_waiting")) === 2)).toBe(true);
    const error = await refused(held.here.client().chat.completions.create(hello));
    expect([error.status, error.code]).toEqual([429, "queue_full"]);
    expect(Number(error.headers?.get("retry-after"))).toBeGreaterThanOrEqual(1);
    held.release();
    expect((await running).status).toBe(200);
    expect((await Promise.all(waiting)).every(({ choices }) => choices[0]?.finish_reason === "length")).toBe(
      true,
    );
  });

  test("lose those whose client is gone before their turn", async () => {
    const held = await startHeld({ maxConcurrent: 1, maxQueued: 1 });
    here = held.here;
    const { url, port } = held.here;
    const running = held.run();
    expect(await eventually(async () => (await metric(url, "baton_computing")) === 1)).toBe(true);
    const gone = rawPost(port, "/v1/chat/completions", hello);
    expect(await eventually(async () => (await metric(url, "baton_waiting")) === 1)).toBe(true);
    gone.destroy();
    expect(await eventually(async () => (await metric(url, "baton_waiting")) === 0)).toBe(true);
    held.release();
    await running;
  });
});

test("options that contradict are refused by name", async () => {
  const model = await loadTiny();
  const models = { tiny: model };
  const cases: [string, object][] = [
    ["models", {}],
    ["models", { models: { "chain:x": model } }],
    ["maxConcurrent", { models, maxConcurrent: 0 }],
    ["maxBodyBytes", { models, maxBodyBytes: 1.5 }],
    ["cors", { models, cors: ["example.org"] }],
    ["maxqueued", { models, maxqueued: 1 }],
  ];
  for (const [option, options] of cases) {
    const error = await failure(createServer(options));
    expect([error.code, error.facts.option]).toEqual(["OPTION_INVALID", option]);
  }
  expect((await failure(createServer({ models, prompts: "/nowhere/at/all" }))).code).toBe("IO");
  await model.close();
});
