// SPDX-License-Identifier: Apache-2.0
// llama.cpp's own benchmark program: its kernels at their best, with a pool of threads that lives on and no JavaScript.
// It neither samples nor turns tokens into text, which makes it the strictest rival.
import type { Samples, Subject, Task, TrialSettings } from "../contract.js";
import { cacheWays, describeArgs, type Ended, runLlama, threadWays, variantOf } from "./llama-programs.js";

interface BenchEntry {
  build_commit: string;
  type_k: string;
  type_v: string;
  /** One per repetition: ns of the whole test, tokens per second. */
  samples_ns: number[];
  samples_ts: number[];
}

async function bench(
  settings: TrialSettings,
  args: readonly (string | number)[],
): Promise<{ entry: BenchEntry; run: Ended }> {
  const threads = settings.way?.args.includes("-t") ? [] : ["-t", settings.threads];
  const common = ["-m", settings.model, ...threads, "-o", "json", ...(settings.way?.args ?? [])];
  const run = await runLlama("llama-bench", [...common, ...args].map(String));
  const [entry] = JSON.parse(run.stdout) as BenchEntry[];
  if (entry === undefined) throw new Error("llama-bench printed no result");
  return { entry, run };
}

async function measure(task: Task, settings: TrialSettings): Promise<Samples> {
  const tests = (prompt: number, generate: number, depth: number, repetitions: number) => {
    return ["-p", prompt, "-n", generate, "-d", depth, "-r", repetitions];
  };
  switch (task.kind) {
    case "prefill": {
      const warmup = task.warmup ? [] : ["--no-warmup"];
      const { entry } = await bench(settings, [...tests(task.rows, 0, 0, task.repetitions), ...warmup]);
      return { prefill: entry.samples_ts };
    }
    case "decode": {
      const { entry } = await bench(settings, tests(0, task.tokens, task.context, task.repetitions));
      return { decode: entry.samples_ts };
    }
    case "handover": {
      // The forward that yields the first token's logits; it samples nothing.
      const { entry } = await bench(settings, tests(task.opener, 0, task.prefix, task.repetitions));
      return { "first-token": entry.samples_ns.map((ns) => ns / 1e6) };
    }
    case "memory": {
      const both = ["-p", 0, "-n", 0, "-pg", `${task.rows},${task.tokens}`, "-r", 1, "--no-warmup"];
      const { run } = await bench(settings, both);
      return { "peak-rss": [run.peak / 1e6] };
    }
    default:
      throw new Error(`llama-bench has no way to measure ${task.kind}`);
  }
}

export const llamaBench: Subject = {
  name: "llama-bench",
  rival: true,
  family: "llama.cpp",
  setup: "setup.mjs",
  kinds: ["prefill", "decode", "handover", "memory"],
  measure,
  ways: (task, { threads, quick }) => {
    if (task.kind === "memory") return [];
    const fewer = task.kind === "decode" && !quick ? threadWays(threads) : [];
    return [...cacheWays(quick), ...fewer];
  },
  async describe(settings) {
    const { entry, run } = await bench(settings, describeArgs);
    return `llama.cpp ${entry.build_commit}, ${variantOf(run)}, K ${entry.type_k}, V ${entry.type_v}, flash attention auto`;
  },
};
