// SPDX-License-Identifier: Apache-2.0
// The way to run llama.cpp from Node: what a user of this package would otherwise have.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import type { Samples, Subject, Task, TrialSettings } from "../contract.js";
import { tokenIds } from "../tokens.js";
import { type ChainContext, measureLlamaChains } from "./chains/llama.js";
import type { ChainSequence } from "./chains/llama-routes.js";
import { rivalFolders } from "./llama-programs.js";
import { loadSamples, residentBytes, warmPageCache } from "./load.js";

/** What is used of node-llama-cpp; its own types are only there once the rivals are installed. */
interface Sequence {
  evaluate(tokens: number[], options: object): AsyncGenerator<number, void, void>;
  evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>;
  clearHistory(): Promise<void>;
  adaptStateToTokens(tokens: number[]): Promise<void>;
  saveStateToFile(filePath: string): Promise<{ fileSize: number }>;
  loadStateFromFile(filePath: string, acceptRisk: { acceptRisk: true }): Promise<void>;
}
interface Context extends ChainContext {
  getSequence(): Sequence & ChainSequence;
  readonly flashAttention: boolean | "auto";
}
interface Llama {
  readonly systemInfo: string;
  readonly llamaCppRelease: { release: string };
  loadModel(options: object): Promise<{ createContext(options: object): Promise<Context> }>;
}

const packageFolder = path.join(rivalFolders().modules, "node-llama-cpp");
// Greedy, as ours; an end-of-generation token must not end the measurement.
const greedy = { temperature: 0, yieldEogToken: true };

async function open(
  settings: TrialSettings,
  contextSize: number,
  sequences = 1,
): Promise<{ llama: Llama; context: Context }> {
  const url = pathToFileURL(path.join(packageFolder, "dist/index.js")).href;
  const { getLlama } = (await import(url)) as { getLlama(options: object): Promise<Llama> };
  const llama = await getLlama({ gpu: false, build: "never", maxThreads: settings.threads });
  const model = await llama.loadModel({ modelPath: settings.model });
  const options = { contextSize, sequences, threads: settings.threads };
  return { llama, context: await model.createContext(options) };
}

/** Takes `count` tokens and returns the time of each, ms since `start`. */
async function generate(
  sequence: Sequence,
  tokens: number[],
  count: number,
  start: number,
): Promise<number[]> {
  const times: number[] = [];
  for await (const _ of sequence.evaluate(tokens, greedy)) {
    times.push(performance.now() - start);
    if (times.length === count) break;
  }
  return times;
}

/** Tokens per second between the first and the last of `times`. */
function rate(times: number[]): number {
  const first = times[0];
  const last = times.at(-1);
  if (first === undefined || last === undefined || times.length < 2)
    throw new Error("fewer than two tokens came");
  return ((times.length - 1) * 1000) / (last - first);
}

async function prefill(task: Task & { kind: "prefill" }, settings: TrialSettings): Promise<Samples> {
  const { context } = await open(settings, task.rows + 256);
  const sequence = context.getSequence();
  const values: number[] = [];
  for (let turn = task.warmup ? -1 : 0; turn < task.repetitions; turn++) {
    await sequence.clearHistory();
    const start = performance.now();
    await sequence.evaluateWithoutGeneratingNewTokens(tokenIds(task.rows, turn + 2));
    if (turn >= 0) values.push((task.rows * 1000) / (performance.now() - start));
  }
  return { prefill: values };
}

async function decode(task: Task & { kind: "decode" }, settings: TrialSettings): Promise<Samples> {
  const { context } = await open(settings, task.context + task.tokens + 256);
  const sequence = context.getSequence();
  const prefix = tokenIds(task.context);
  await sequence.evaluateWithoutGeneratingNewTokens(prefix);
  const values: number[] = [];
  for (let turn = task.warmup ? -1 : 0; turn < task.repetitions; turn++) {
    await sequence.adaptStateToTokens(prefix);
    const times = await generate(sequence, tokenIds(1, 7), task.tokens + 1, performance.now());
    if (turn >= 0) values.push(rate(times));
  }
  return { decode: values };
}

async function handover(task: Task & { kind: "handover" }, settings: TrialSettings): Promise<Samples> {
  const { context } = await open(settings, task.prefix + task.opener + 240);
  const sequence = context.getSequence();
  const prefix = tokenIds(task.prefix);
  const opener = tokenIds(task.opener, 7);
  await sequence.evaluateWithoutGeneratingNewTokens(prefix);
  const values: number[] = [];
  for (let turn = -1; turn < task.repetitions; turn++) {
    const start = performance.now();
    await sequence.adaptStateToTokens(prefix);
    const [first] = await generate(sequence, opener, 1, start);
    if (turn >= 0 && first !== undefined) values.push(first);
  }
  return { "first-token": values };
}

async function memory(task: Task & { kind: "memory" }, settings: TrialSettings): Promise<Samples> {
  const { context } = await open(settings, task.rows + 256);
  await generate(context.getSequence(), tokenIds(task.rows), task.tokens, performance.now());
  return { "peak-rss": [process.resourceUsage().maxRSS / 1000] };
}

/** A context of what a chat has at least; the package would take as much as the model allows. */
async function load(task: Task & { kind: "load" }, settings: TrialSettings): Promise<Samples> {
  warmPageCache(settings.model);
  const before = residentBytes();
  const start = performance.now();
  const { context } = await open(settings, 2048);
  const [firstToken] = await generate(context.getSequence(), tokenIds(task.rows, 7), 1, start);
  if (firstToken === undefined) throw new Error("no token came");
  return loadSamples({ firstToken, before, after: residentBytes() }, settings.model);
}

/** Its state of a sequence has no checksums. Clearing the history is not counted. */
async function snapshot(task: Task & { kind: "snapshot" }, settings: TrialSettings): Promise<Samples> {
  const { context } = await open(settings, task.rows + 256);
  const sequence = context.getSequence();
  const folder = mkdtempSync(path.join(tmpdir(), "baton-bench-state-"));
  const file = path.join(folder, "state");
  const save: number[] = [];
  const restore: number[] = [];
  const bytes: number[] = [];
  const tokens: number[] = [];
  try {
    await sequence.evaluateWithoutGeneratingNewTokens(tokenIds(task.rows));
    for (let turn = -1; turn < task.repetitions; turn++) {
      let start = performance.now();
      const { fileSize } = await sequence.saveStateToFile(file);
      const saved = performance.now() - start;
      await sequence.clearHistory();
      start = performance.now();
      await sequence.loadStateFromFile(file, { acceptRisk: true });
      const restored = performance.now() - start;
      const [first] = await generate(sequence, tokenIds(1, 7), 1, start);
      await sequence.adaptStateToTokens(tokenIds(task.rows));
      rmSync(file);
      if (turn < 0 || first === undefined) continue;
      save.push(saved);
      restore.push(restored);
      bytes.push(fileSize / 1e6);
      tokens.push(first);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return { save, restore, file: bytes, "first-token": tokens };
}

export const nodeLlamaCpp: Subject = {
  name: "node-llama-cpp",
  rival: true,
  setup: "setup.mjs",
  kinds: ["prefill", "decode", "handover", "memory", "load", "snapshot", "chain", "rounds", "fan-out"],
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
      case "load":
        return load(task, settings);
      case "snapshot":
        return snapshot(task, settings);
      case "chain":
      case "rounds":
      case "fan-out":
        return measureLlamaChains(
          task,
          settings,
          async (size, sequences) => (await open(settings, size, sequences)).context,
        );
      default:
        throw new Error(`node-llama-cpp has no way to measure ${task.kind}`);
    }
  },
  async describe(settings) {
    const { version } = JSON.parse(readFileSync(path.join(packageFolder, "package.json"), "utf8"));
    const { llama, context } = await open(settings, 256);
    const isa = llama.systemInfo.match(/\w+(?= = 1)/g) ?? [];
    const attention = context.flashAttention === true ? "on" : String(context.flashAttention);
    return `${version} (llama.cpp ${llama.llamaCppRelease.release}), ${isa.join(" ")}, flash attention ${attention}`;
  },
};
