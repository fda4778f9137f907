// SPDX-License-Identifier: Apache-2.0
// llama.cpp's own benchmark program: its kernels at their best, with a pool of threads that lives on and no JavaScript.
// It neither samples nor turns tokens into text, which makes it the strictest rival.
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import type { Samples, Subject, Task, TrialSettings } from "../contract.js";
import { rivals } from "../runner/paths.js";

const program = path.join(rivals, "build/llama-bench");

interface BenchEntry {
  build_commit: string;
  cpu_info: string;
  type_k: string;
  type_v: string;
  n_prompt: number;
  n_gen: number;
  /** One per repetition: ns of the whole test, tokens per second. */
  samples_ns: number[];
  samples_ts: number[];
}

/** Peak resident bytes so far of a process that still runs, or 0. */
function peakBytes(child: ChildProcess): number {
  try {
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // it has ended
  }
}

interface Ended {
  stdout: string;
  stderr: string;
  /** Peak resident bytes. */
  peak: number;
}

/** The peak is read every 20 ms while it runs: what is allocated in the last 20 ms would be missed. */
async function runProgram(args: string[]): Promise<Ended> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const ended: Ended = { stdout: "", stderr: "", peak: 0 };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    ended.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    ended.stderr += text;
  });
  const watch = setInterval(() => {
    ended.peak = Math.max(ended.peak, peakBytes(child));
  }, 20);
  try {
    const code = await new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (status, signal) => resolve(signal ?? status));
    });
    if (code !== 0) throw new Error(`llama-bench ended with ${code}: ${ended.stderr.slice(-1000)}`);
    return ended;
  } finally {
    clearInterval(watch);
  }
}

async function bench(
  settings: TrialSettings,
  args: (string | number)[],
): Promise<{ entry: BenchEntry; run: Ended }> {
  const common = ["-m", settings.model, "-t", settings.threads, "-o", "json"];
  const run = await runProgram([...common, ...args].map(String));
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
  setup: "setup.mjs",
  kinds: ["prefill", "decode", "handover", "memory"],
  measure,
  async describe(settings) {
    const { entry, run } = await bench(settings, ["-p", 1, "-n", 0, "-r", 1, "--no-warmup", "-v"]);
    const variant =
      /loaded CPU backend from .*?(libggml-cpu-\w+)\.so/.exec(run.stderr)?.[1] ?? "unknown variant";
    return `llama.cpp ${entry.build_commit}, ${variant}, K ${entry.type_k}, V ${entry.type_v}, flash attention auto`;
  },
};
