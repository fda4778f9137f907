// SPDX-License-Identifier: Apache-2.0
// The server beside the bare API: the same text continued both ways, in turns (workloads/server.ts says what is counted).
import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Samples, Task, TrialSettings } from "../contract.js";
import { packageUrl } from "../runner/paths.js";
import { mean } from "../runner/statistics.js";
import type { Model } from "./engine.js";
import { open } from "./engine.js";
import { notes } from "./notes.js";
import type { Answer, Ask } from "./server-client.js";

type ServerPackage = typeof import("../../src/serve/index.js");

const text =
  "The harbour of Marsk freezes for eleven weeks a year, and for eleven weeks nobody fishes. ".repeat(3);

/** Adds up the engine's own milliseconds of all jobs from now on. */
function watchJobs(model: Model): { ms: number } {
  const seen = { ms: 0 };
  const run = model.engine.run.bind(model.engine);
  model.engine.run = async (job, listeners) => {
    const outcome = await run(job, listeners);
    seen.ms += outcome.stats.totalMs;
    return outcome;
  };
  return seen;
}

/** CPU milliseconds of the main thread so far: the kernel keeps nanoseconds per thread. */
function threadCpuMs(): number {
  const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
  return Number(nanoseconds) / 1e6;
}

/** One output by the bare API, read as it comes; its wall milliseconds. */
async function bare(
  model: Model,
  maxTokens: number,
  write: (piece: string) => void = () => {},
): Promise<{ ms: number; tokens: number }> {
  const start = performance.now();
  const handle = model.cache.open();
  const { tokenizer } = model;
  await handle.append(tokenizer.encode(text, { specials: false, atZero: true }));
  const generation = handle.generate({ maxTokens, closers: [] });
  let length = 0;
  for await (const piece of generation) {
    length += piece.length;
    write(piece);
  }
  const result = await generation.result;
  handle.close();
  if (length !== result.text.length) throw new Error("the streamed text is not the result's text");
  return { ms: performance.now() - start, tokens: result.tokens.length };
}

interface Side {
  /** Of one output, or the mean of several at once. */
  wallMs: number;
  engineMs: number;
  cpuMs: number;
  tokens: number;
}

/** Asks the client for so many answers at once. */
async function asked(client: ChildProcess, ask: Ask): Promise<Answer> {
  client.send(ask);
  const [answer] = (await once(client, "message")) as [Answer | { error: string }];
  if ("error" in answer) throw new Error(answer.error);
  return answer;
}

const beyond = ({ wallMs, engineMs }: Side) => wallMs - engineMs;

/** A server of ten lines that does what `bare` does and writes every piece: what HTTP itself takes on this machine. */
async function plainServer(model: Model): Promise<{ url: string; close: () => void }> {
  const server = createHttpServer(async (incoming, outgoing) => {
    let asking = "";
    for await (const part of incoming) asking += part;
    const { max_tokens: most } = JSON.parse(asking);
    const around = " ".repeat(250); // as much as stands around a piece in OpenAI's format
    const { tokens } = await bare(model, most, (piece) => outgoing.write(JSON.stringify(piece) + around));
    outgoing.end(`{"usage":{"completion_tokens":${tokens}}}`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${port}/`, close };
}

/** All sides over one model, and the client. */
async function openSides(settings: TrialSettings) {
  const { model } = await open(settings, { cacheBytes: 256 << 20 });
  const { createServer } = (await import(new URL("serve/index.js", packageUrl).href)) as ServerPackage;
  const server = await createServer({ models: { measured: model }, reloadMs: 0 });
  const { url } = await server.listen({ port: 0 });
  const client = fork(new URL("./server-client.js", import.meta.url));
  const plain = await plainServer(model);
  const jobs = watchJobs(model);
  const side = async (work: () => Promise<Answer>): Promise<Side> => {
    jobs.ms = 0;
    const cpu = threadCpuMs();
    const answer = await work();
    const cpuMs = threadCpuMs() - cpu;
    const count = answer.wallMs.length;
    return { wallMs: mean(answer.wallMs), engineMs: jobs.ms / count, cpuMs, tokens: answer.tokens };
  };
  return {
    bySelf: (most: number, count: number) =>
      side(async () => {
        const all = await Promise.all(Array.from({ length: count }, () => bare(model, most)));
        return { wallMs: all.map(({ ms }) => ms), tokens: all.reduce((sum, one) => sum + one.tokens, 0) };
      }),
    byServer(most: number, count: number, stream: boolean) {
      const options = stream ? { stream, stream_options: { include_usage: true } } : {};
      const body = {
        ...{ model: "measured", prompt: text, max_tokens: most },
        ...{ temperature: 0, ignore_eos: true, ...options },
      };
      return side(() => asked(client, { url: `${url}/v1/completions`, body: JSON.stringify(body), count }));
    },
    byPlain(most: number, count: number) {
      return side(() => asked(client, { url: plain.url, body: JSON.stringify({ max_tokens: most }), count }));
    },
    async close() {
      client.kill();
      plain.close();
      await server.close();
      await model.close();
    },
  };
}

/** Answers before the first that is measured: a server has been asked before. */
const warmup = 12;

export async function measureServer(
  { streams, tokens, repetitions }: Task & { kind: "server" },
  settings: TrialSettings,
): Promise<Samples> {
  const sides = await openSides(settings);
  const { samples, note } = notes();
  const request = async () => {
    const alone = beyond(await sides.bySelf(1, 1));
    const served = beyond(await sides.byServer(1, 1, false));
    return { overhead: served - alone, plain: beyond(await sides.byPlain(1, 1)) - alone };
  };
  for (let turn = 0; turn < warmup; turn++) await request();
  for (let turn = -2; turn < repetitions; turn++) {
    const { overhead, plain } = await request();
    const alone = await sides.bySelf(tokens, streams);
    const served = await sides.byServer(tokens, streams, true);
    const written = await sides.byPlain(tokens, streams);
    if (turn < 0) continue;
    const each = tokens * streams;
    if ([alone, served, written].some((side) => side.tokens !== each))
      throw new Error("an output has another length");
    const perToken = (side: Side) => ((beyond(side) - beyond(alone)) * 1000) / tokens;
    const cpuPerToken = (side: Side) => ((side.cpuMs - alone.cpuMs) * 1000) / each;
    note("request-overhead", overhead);
    note("request-plain", plain);
    note("token-overhead", perToken(served));
    note("token-plain", perToken(written));
    note("token-cpu", cpuPerToken(served));
    note("token-cpu-plain", cpuPerToken(written));
  }
  await sides.close();
  return samples;
}
