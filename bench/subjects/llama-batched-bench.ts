// SPDX-License-Identifier: Apache-2.0
// llama.cpp's own program for sequences that decode in one batch. Like llama-bench it neither samples nor makes texts.
import type { Samples, Subject, Task, TrialSettings, Way } from "../contract.js";
import { cacheWays, describeVariant, runLlama } from "./llama-programs.js";

interface BatchLine {
  /** Sequences. */
  pl: number;
  /** Tokens per second of all of them. */
  speed_tg: number;
}

function argsOf(task: Task & { kind: "batch" }, { model, threads, way }: TrialSettings): string[] {
  const { context, counts, shared, tokens, repetitions } = task;
  const most = Math.max(...counts);
  const turns = Array.from({ length: repetitions }, () => counts).flat();
  const values = {
    "-m": model,
    "-t": threads,
    "-c": most * (context + tokens + 8),
    "-b": 2048,
    "-ub": 512,
    "-npp": context,
    "-ntg": tokens,
    "-npl": turns.join(","),
    "--output-format": "jsonl",
  };
  const flags = Object.entries(values).flatMap(([name, value]) => [name, String(value)]);
  return [...flags, ...(shared ? ["-pps"] : []), ...(way?.args ?? [])];
}

async function measure(task: Task, settings: TrialSettings): Promise<Samples> {
  if (task.kind !== "batch") throw new Error(`llama-batched-bench has no way to measure ${task.kind}`);
  const { stdout, stderr } = await runLlama("llama-batched-bench", argsOf(task, settings));
  const lines = `${stdout}\n${stderr}`.split("\n").filter((line) => line.startsWith("{"));
  const entries = lines.map((line) => JSON.parse(line) as BatchLine);
  const samples: Samples = {};
  for (const { pl, speed_tg } of entries) {
    const name = `decode-${pl}`;
    samples[name] = [...(samples[name] ?? []), speed_tg];
  }
  const missing = task.counts.filter((count) => samples[`decode-${count}`] === undefined);
  if (missing.length > 0)
    throw new Error(`llama-batched-bench gave no figure for ${missing.join(", ")} sequences`);
  return samples;
}

/** Tries of K and V, and one buffer for all sequences, which shares a common prompt, or one each, which copies it. */
function bufferWays(task: Task, quick: boolean | undefined): Way[] {
  const flags = quick ? [task.kind === "batch" && task.shared ? "-kvu" : "-no-kvu"] : ["-kvu", "-no-kvu"];
  return flags.flatMap((flag) =>
    cacheWays(quick).map(({ name, args }) => ({
      name: `${name}, ${flag === "-kvu" ? "one KV buffer" : "a KV buffer a sequence"}`,
      args: [...args, flag],
    })),
  );
}

export const llamaBatchedBench: Subject = {
  name: "llama-batched-bench",
  rival: true,
  family: "llama.cpp",
  setup: "setup.mjs",
  kinds: ["batch"],
  measure,
  ways: (task, { quick }) => bufferWays(task, quick),
  describe: async ({ model }) => `llama.cpp's batched-bench, ${await describeVariant(model)}`,
};
