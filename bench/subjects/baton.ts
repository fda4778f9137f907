// SPDX-License-Identifier: Apache-2.0
// Ours. Row counts must be exact, so all tasks but one use the model's engine with token ids, as the rivals' token APIs
// are used; what the chain API adds on top is the overhead task. Whole chains (suite "chain") run through the chain API.
import { readFileSync } from "node:fs";
import type { Samples, Subject, Task, TrialSettings } from "../contract.js";
import { tokenIds } from "../tokens.js";
import { measureBatch } from "./batch.js";
import { measureBranches, measureMoving, measureReuse, measureSnapshot } from "./cache.js";
import { measureChains } from "./chains/measure.js";
import { sharedPlayer } from "./chains/players.js";
import { measureConstrained } from "./constrained.js";
import { measureDivergence } from "./divergence.js";
import { measureDrafting, shareOfSame } from "./drafting.js";
import { cached, generate, type Model, open, rate } from "./engine.js";
import { measureKv } from "./kv.js";
import { measureLoad } from "./load.js";
import { measurePolicies } from "./policies.js";
import { measureServer } from "./server.js";
import { measureTraining } from "./train.js";

async function prefill(task: Task & { kind: "prefill" }, settings: TrialSettings): Promise<Samples> {
  const { model } = await open(settings);
  const values: number[] = [];
  for (let turn = task.warmup ? -1 : 0; turn < task.repetitions; turn++) {
    const tokens = Int32Array.from(tokenIds(task.rows, turn + 2));
    const start = performance.now();
    const segment = model.engine.createSegment({ kind: "input", start: 0, reads: [] });
    await model.engine.run({ appends: [{ segment, tokens }], logits: "last" });
    if (turn >= 0) values.push((task.rows * 1000) / (performance.now() - start));
    model.engine.releaseSegment(segment);
  }
  await model.close();
  return { prefill: values };
}

/** What a decode step reads at least: every weight once (the embedding as the head), and so many rows of KV. */
function bytesPerToken({ info }: Model, rows: number): number {
  return info.weightBytes + rows * info.kvBytesPerRow;
}

async function decode(task: Task & { kind: "decode" }, settings: TrialSettings): Promise<Samples> {
  const { model } = await open(settings);
  const context = await cached(model, task.context);
  const values: number[] = [];
  for (let turn = task.warmup ? -1 : 0; turn < task.repetitions; turn++) {
    const output = { read: context, rows: task.context, opener: 1, count: task.tokens + 1 };
    const { arrivals } = await generate(model, output);
    if (turn >= 0) values.push(rate(arrivals));
  }
  const read = bytesPerToken(model, task.context + 1 + task.tokens / 2);
  await model.close();
  return { decode: values, bandwidth: values.map((one) => (one * read) / 1e9) };
}

async function handover(task: Task & { kind: "handover" }, settings: TrialSettings): Promise<Samples> {
  const { model } = await open(settings);
  const prefix = await cached(model, task.prefix);
  const values: number[] = [];
  for (let turn = -1; turn < task.repetitions; turn++) {
    const output = { read: prefix, rows: task.prefix, opener: task.opener, count: 1 };
    const [first] = (await generate(model, output)).arrivals;
    if (turn >= 0 && first !== undefined) values.push(first.at);
  }
  await model.close();
  return { "first-token": values };
}

async function memory(task: Task & { kind: "memory" }, settings: TrialSettings): Promise<Samples> {
  const { model } = await open(settings);
  const prefix = await cached(model, task.rows);
  await generate(model, { read: prefix, rows: task.rows, opener: 1, count: task.tokens });
  await model.close();
  return { "peak-rss": [process.resourceUsage().maxRSS / 1000] };
}

/** Adds up the engine's own milliseconds of all jobs from now on. */
function watchJobs(model: Model): { nativeMs: number } {
  const seen = { nativeMs: 0 };
  const run = model.engine.run.bind(model.engine);
  model.engine.run = async (job, listeners) => {
    const outcome = await run(job, listeners);
    seen.nativeMs += outcome.stats.totalMs - outcome.stats.queueMs;
    return outcome;
  };
  return seen;
}

/** CPU milliseconds of the main thread so far: the kernel keeps nanoseconds per thread. */
function threadCpuMs(): number {
  const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
  return Number(nanoseconds) / 1e6;
}

async function overhead(task: Task & { kind: "overhead" }, settings: TrialSettings): Promise<Samples> {
  const { library, model } = await open(settings);
  // No closer: every repetition generates the same number of tokens, whatever the model.
  const story = {
    reads: ["passage"],
    opener: "Once upon a time",
    closers: [],
    maxTokens: task.tokens,
  } as const;
  const chain = library.defineChain(model).input("passage").stage("story", story);
  const passage =
    "The harbour of Marsk freezes for eleven weeks a year, and for eleven weeks nobody fishes. ".repeat(5);
  const jobs = watchJobs(model);
  const samples: { "js-overhead": number[]; "js-cpu": number[] } = { "js-overhead": [], "js-cpu": [] };
  for (let turn = -1; turn < task.repetitions; turn++) {
    jobs.nativeMs = 0;
    const cpu = threadCpuMs();
    const start = performance.now();
    const run = chain.run({ passage });
    let length = 0;
    for await (const event of run) if (event.type === "text-delta") length += event.text.length;
    const { story: told } = await run.result;
    const wall = performance.now() - start;
    const used = threadCpuMs() - cpu;
    if (length !== told.text.length) throw new Error("the streamed text is not the result's text");
    if (turn < 0) continue;
    samples["js-overhead"].push(((wall - jobs.nativeMs) * 1000) / told.usage.tokens);
    samples["js-cpu"].push((used * 1000) / told.usage.tokens);
  }
  await model.close();
  return samples;
}

export const baton: Subject = {
  name: "baton",
  rival: false,
  kinds: [
    "prefill",
    "decode",
    "handover",
    "memory",
    "batch",
    "constrained",
    "kv",
    "load",
    "divergence",
    "overhead",
    "drafting",
    "snapshot",
    "reuse",
    "branches",
    "moving",
    "policies",
    "server",
    "chain",
    "rounds",
    "fan-out",
    "rows",
    "train",
  ],
  async measure(task, settings) {
    switch (task.kind) {
      case "prefill":
        return prefill(task, settings);
      case "decode":
        return decode(task, settings);
      case "handover":
        return handover(task, settings);
      case "memory":
        return memory(task, settings);
      case "batch":
        return measureBatch(task, settings);
      case "constrained":
        return measureConstrained(task, settings);
      case "kv":
        return measureKv(task, settings);
      case "load":
        return measureLoad(task, settings);
      case "divergence":
        return measureDivergence(task, settings);
      case "server":
        return measureServer(task, settings);
      case "overhead":
        return overhead(task, settings);
      case "drafting": {
        const { model } = await open(settings);
        const samples = await measureDrafting(model, settings);
        await model.close();
        if (task.free === undefined) return samples;
        const invariant = await open(settings, { batchInvariant: true });
        samples["same-outputs"] = [await shareOfSame(invariant.model, settings, task.free)];
        await invariant.model.close();
        return samples;
      }
      case "snapshot":
        return measureSnapshot(task, settings);
      case "reuse":
        return measureReuse(task, settings);
      case "branches":
        return measureBranches(task, settings);
      case "moving":
        return measureMoving(task, settings);
      case "policies":
        return measurePolicies(task, settings);
      case "chain":
      case "rounds":
      case "fan-out":
      case "rows":
        return measureChains(task, settings, sharedPlayer);
      case "train":
        return measureTraining(task, settings);
    }
  },
  async describe(settings) {
    const { model } = await open(settings);
    const { isa, weightType, kvType } = model.info;
    await model.close();
    return `kernels ${isa}, weights ${weightType}, K and V ${kvType}, activations int8`;
  },
};
