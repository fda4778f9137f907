// SPDX-License-Identifier: Apache-2.0
// A real server on a loopback address over the tiny model, and the official client for it.

import { request } from "node:http";
import OpenAI from "openai";
import type { LoadOptions, Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import type { BatonServer, LogEntry, ServerOptions } from "../../src/serve/index.js";
import { createServer } from "../../src/serve/index.js";
import { loadTiny } from "../chain/tiny-model.js";

export interface ReplyBody {
  error?: { message: string; type: string; param: string | null; code: string };
  choices?: { message: { content: string } }[];
  results?: Record<string, { text: string }>;
  usage?: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
}

export interface Reply {
  status: number;
  body: ReplyBody;
  headers: Headers;
}

export interface TestServer extends AsyncDisposable {
  server: BatonServer;
  model: Model;
  url: string;
  port: number;
  logs: LogEntry[];
  client(key?: string): OpenAI;
  /** JSON in, status and JSON out. */
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Reply>;
}

type Options = Omit<ServerOptions, "models" | "chains"> & {
  load?: LoadOptions;
  chains?: (model: Model) => NonNullable<ServerOptions["chains"]>;
};

/** The model is served as "tiny". */
export async function startServer({ load = {}, chains, ...options }: Options = {}): Promise<TestServer> {
  const model = await loadTiny({ indexBytes: 4 << 20, ...load });
  const logs: LogEntry[] = [];
  const server = await createServer({
    models: { tiny: model },
    ...(chains && { chains: chains(model) }),
    reloadMs: 0,
    log: (entry) => logs.push(entry),
    ...options,
  });
  const { url, port } = await server.listen({ port: 0 });
  return {
    ...{ server, model, url, port, logs },
    client: (apiKey = "none-is-needed-here") => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 }),
    async post(path, body, headers = {}) {
      const response = await fetch(url + path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      });
      const text = await response.text();
      const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
      const parsed = isStream ? {} : (JSON.parse(text) as ReplyBody);
      return { status: response.status, body: parsed, headers: response.headers };
    },
    async [Symbol.asyncDispose]() {
      await server.close({ limitMs: 0 });
      await model.close();
    },
  };
}

/** A server with a chain "held", whose runs compute until they are released. */
export async function startHeld(options: Options = {}) {
  let release: () => void = () => {};
  const released = new Promise<string>((resolve) => {
    release = () => resolve("The harbour of Marsk freezes.");
  });
  const chains = (model: Model) => ({
    held: defineChain(model)
      .input("question")
      .stage("before", { maxTokens: 2, closers: [] })
      .input("passage", { from: () => released })
      .stage("answer", { maxTokens: 4, closers: [] }),
  });
  const here = await startServer({ chains, ...options });
  const run = () => here.post("/v1/chains/held", { inputs: { question: "How long?" } });
  return { here, run, release };
}

export const user = (content: string) => ({ role: "user" as const, content });

/** Greedy, of a length that the tiny model always reaches. */
export const greedy = { model: "tiny", temperature: 0, max_tokens: 12, ignore_eos: true } as const;
export const hello = { ...greedy, messages: [user("How long does the harbour freeze?")] };

/** What the library itself writes. */
export async function bare(model: Model, text: string, maxTokens = 12): Promise<string> {
  return (await bareResult(model, text, maxTokens)).text;
}

export async function bareResult(model: Model, text: string, maxTokens = 12) {
  using handle = model.cache.open({ salt: "bare" });
  await handle.append(model.template().encode([user(text)]));
  return await handle.generate({ maxTokens, temperature: 0, closers: [] }).result;
}

/** What a promise of the client is rejected with. */
export async function refused(promise: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (error instanceof OpenAI.APIError) return error;
  throw new Error(`It was not refused: ${String(error)}`);
}

/** Opens a POST by hand, for clients that behave badly; `onData` hears what comes. */
export function rawPost(port: number, path: string, body: unknown, headers: Record<string, string> = {}) {
  const sent = request({
    ...{ port, path, method: "POST", agent: false },
    headers: { "content-type": "application/json", ...headers },
  });
  sent.on("error", () => {});
  if (body !== undefined) sent.end(JSON.stringify(body));
  return sent;
}

/** Waits for a condition, a minute at most, which is for hangs; the caller asserts it. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let turn = 0; turn < 6000; turn++) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return false;
}

/** A figure of /metrics, summed over its labels that contain `labels`. */
export async function metric(url: string, name: string, labels = "", key?: string): Promise<number> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const text = await (await fetch(`${url}/metrics`, { headers })).text();
  const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  if (lines.length === 0) throw new Error(`/metrics has no ${name}`);
  return lines
    .filter((line) => line.includes(labels))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}
