// SPDX-License-Identifier: Apache-2.0
// Branches over one trunk by copies of llama.cpp's sequences (rivals/llama-forks.cpp). What its buffer holds is reserved for all
// of them beforehand, so that there is no figure of what a branch takes.
import type { Samples, Subject, Task, TrialSettings } from "../contract.js";
import { describeVariant, runLlama } from "./llama-programs.js";

interface Turn {
  /** Microseconds. */
  fork: number;
  rewind: number;
}

async function measure(task: Task, { model, threads }: TrialSettings): Promise<Samples> {
  if (task.kind !== "branches") throw new Error(`llama-forks has no way to measure ${task.kind}`);
  const { trunk, count, repetitions } = task;
  const values = { "-m": model, "-t": threads, "--trunk": trunk, "--branches": count, "-r": repetitions };
  const args = Object.entries(values).flatMap(([name, value]) => [name, String(value)]);
  const { stdout } = await runLlama("llama-forks", args);
  const turns = stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Turn);
  if (turns.length !== repetitions)
    throw new Error(`llama-forks gave ${turns.length} figures of ${repetitions}`);
  return { fork: turns.map(({ fork }) => fork), rewind: turns.map(({ rewind }) => rewind) };
}

export const llamaForks: Subject = {
  name: "llama-forks",
  rival: true,
  family: "llama.cpp",
  setup: "setup.mjs",
  kinds: ["branches"],
  measure,
  describe: async ({ model }) =>
    `llama.cpp's copies of sequences in one KV buffer, ${await describeVariant(model)}, flash attention auto`,
};
