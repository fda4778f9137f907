// SPDX-License-Identifier: Apache-2.0
// Ours. Row counts must be exact, so all tasks but one use the model's engine with token ids, as the rivals' token APIs
// are used; what the chain API adds on top is the overhead task. Whole chains (suite "chain") run through the chain API.
import { readFileSync } from "node:fs";
import type { Samples, Subject, Task, TrialSettings } from "../contract.js";
import { packageUrl } from "../runner/paths.js";
import { tokenIds } from "../tokens.js";
import { measureChains } from "./chains/measure.js";
import { sharedPlayer } from "./chains/players.js";
import { measureDrafting } from "./drafting.js";
import { measureTraining } from "./train.js";

type Package = typeof import("../../src/index.js");
type Model = Awaited<ReturnType<Package["loadModel"]>>;
type Segment = ReturnType<Model["engine"]["createSegment"]>;

const greedy = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 0 };

async function open(settings: TrialSettings): Promise<{ library: Package; model: Model }> {
  const library = (await import(packageUrl)) as Package;
  const device = settings.device as "cpu";
  // Nothing may be found again from an earlier repetition, and every token takes a forward of its own, as with rivals.
  const options = { device, threads: settings.threads, indexBytes: 0, drafting: "off" as const };
  return { library, model: await library.loadModel(settings.model, options) };
}

/** A closed segment of `rows` rows that reads nothing. */
async function cached(model: Model, rows: number): Promise<Segment> {
  const segment = model.engine.createSegment({ kind: "input", start: 0, reads: [] });
  const tokens = Int32Array.from(tokenIds(rows));
  await model.engine.run({ appends: [{ segment, tokens }], logits: "none" });
  model.engine.closeSegment(segment);
  return segment;
}

interface Arrival {
  /** ms since the segment was asked for. */
  at: number;
  tokens: number;
}

/** An output behind `rows` rows of `read`: `opener` tokens, then `count` generated ones. */
async function generate(
  model: Model,
  read: Segment,
  rows: number,
  opener: number,
  count: number,
): Promise<Arrival[]> {
  const arrivals: Arrival[] = [];
  const start = performance.now();
  const segment = model.engine.createSegment({
    kind: "output",
    start: rows,
    reads: [{ segment: read, rows, shift: 0 }],
  });
  const limits = { closers: new Int32Array(0), stops: [], maxTokens: count };
  await model.engine.run(
    {
      appends: [{ segment, tokens: Int32Array.from(tokenIds(opener, 7)) }],
      generate: { sampler: greedy, ...limits },
      logits: "none",
    },
    { onTokens: (ids) => arrivals.push({ at: performance.now() - start, tokens: ids.length }) },
  );
  model.engine.releaseSegment(segment);
  return arrivals;
}

/** Tokens per second between the first arrival and the last. */
function rate(arrivals: Arrival[]): number {
  const [first, ...later] = arrivals;
  const last = later.at(-1);
  if (first === undefined || last === undefined) throw new Error("all tokens arrived at once");
  return (later.reduce((sum, one) => sum + one.tokens, 0) * 1000) / (last.at - first.at);
}

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

async function decode(task: Task & { kind: "decode" }, settings: TrialSettings): Promise<Samples> {
  const { model } = await open(settings);
  const context = await cached(model, task.context);
  const values: number[] = [];
  for (let turn = task.warmup ? -1 : 0; turn < task.repetitions; turn++) {
    const arrivals = await generate(model, context, task.context, 1, task.tokens + 1);
    if (turn >= 0) values.push(rate(arrivals));
  }
  await model.close();
  return { decode: values };
}

async function handover(task: Task & { kind: "handover" }, settings: TrialSettings): Promise<Samples> {
  const { model } = await open(settings);
  const prefix = await cached(model, task.prefix);
  const values: number[] = [];
  for (let turn = -1; turn < task.repetitions; turn++) {
    const [first] = await generate(model, prefix, task.prefix, task.opener, 1);
    if (turn >= 0 && first !== undefined) values.push(first.at);
  }
  await model.close();
  return { "first-token": values };
}

async function memory(task: Task & { kind: "memory" }, settings: TrialSettings): Promise<Samples> {
  const { model } = await open(settings);
  const prefix = await cached(model, task.rows);
  await generate(model, prefix, task.rows, 1, task.tokens);
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
    "overhead",
    "drafting",
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
      case "overhead":
        return overhead(task, settings);
      case "drafting": {
        const { model } = await open(settings);
        const samples = await measureDrafting(model, settings);
        await model.close();
        return samples;
      }
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
