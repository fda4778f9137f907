// SPDX-License-Identifier: Apache-2.0
// The server beside the bare API: the same text continued both ways, in turns (workloads/server.ts says what is counted).
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { Samples, Task, TrialSettings } from "../contract.js";
import { packageUrl } from "../runner/paths.js";
import type { Model } from "./engine.js";
import { open } from "./engine.js";
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
async function bare(model: Model, maxTokens: number): Promise<{ ms: number; tokens: number }> {
  const start = performance.now();
  const handle = model.cache.open();
  const { tokenizer } = model;
  await handle.append(tokenizer.encode(text, { specials: false, atZero: true }));
  const generation = handle.generate({ maxTokens, closers: [] });
  let length = 0;
  for await (const piece of generation) length += piece.length;
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
async function asked(client: ReturnType<typeof fork>, ask: Ask): Promise<Answer> {
  client.send(ask);
  const [answer] = (await once(client, "message")) as [Answer | { error: string }];
  if ("error" in answer) throw new Error(answer.error);
  return answer;
}

const mean = (values: readonly number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;

export async function measureServer(
  { streams, tokens, repetitions }: Task & { kind: "server" },
  settings: TrialSettings,
): Promise<Samples> {
  const { model } = await open(settings, { cacheBytes: 256 << 20 });
  const { createServer } = (await import(new URL("serve/index.js", packageUrl).href)) as ServerPackage;
  const server = await createServer({ models: { measured: model }, reloadMs: 0 });
  const { url } = await server.listen({ port: 0 });
  const client = fork(new URL("./server-client.js", import.meta.url));
  const jobs = watchJobs(model);
  const side = async (work: () => Promise<Answer>): Promise<Side> => {
    jobs.ms = 0;
    const cpu = threadCpuMs();
    const answer = await work();
    const cpuMs = threadCpuMs() - cpu;
    const count = answer.wallMs.length;
    return { wallMs: mean(answer.wallMs), engineMs: jobs.ms / count, cpuMs, tokens: answer.tokens };
  };
  const bySelf = (most: number, count: number) =>
    side(async () => {
      const all = await Promise.all(Array.from({ length: count }, () => bare(model, most)));
      return { wallMs: all.map(({ ms }) => ms), tokens: all.reduce((sum, one) => sum + one.tokens, 0) };
    });
  const byServer = (most: number, count: number, stream: boolean) => {
    const options = stream ? { stream, stream_options: { include_usage: true } } : {};
    const body = {
      model: "measured",
      prompt: text,
      max_tokens: most,
      temperature: 0,
      ignore_eos: true,
      ...options,
    };
    const ask = { url: `${url}/v1/completions`, body: JSON.stringify(body), count };
    return side(() => asked(client, ask));
  };
  const samples: Samples = {
    "request-overhead": [],
    "token-overhead": [],
    "token-cpu": [],
    "token-cpu-bare": [],
  };
  const beyond = ({ wallMs, engineMs }: Side) => wallMs - engineMs;
  for (let turn = -2; turn < repetitions; turn++) {
    const [plain, served] = [await bySelf(1, 1), await byServer(1, 1, false)];
    const [alone, streamed] = [await bySelf(tokens, streams), await byServer(tokens, streams, true)];
    if (turn < 0) continue;
    const each = tokens * streams;
    if (alone.tokens !== each || streamed.tokens !== each) throw new Error("an output has another length");
    samples["request-overhead"]?.push(beyond(served) - beyond(plain));
    samples["token-overhead"]?.push(((beyond(streamed) - beyond(alone)) * 1000) / tokens);
    samples["token-cpu"]?.push(((streamed.cpuMs - alone.cpuMs) * 1000) / each);
    samples["token-cpu-bare"]?.push((alone.cpuMs * 1000) / each);
  }
  client.kill();
  await server.close();
  await model.close();
  return samples;
}
