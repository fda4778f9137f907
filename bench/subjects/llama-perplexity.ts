// SPDX-License-Identifier: Apache-2.0
// llama.cpp's own program for the distance of its next-token distributions from a reference's.
import type { Samples, Subject, Task, TrialSettings } from "../contract.js";
import { ReferenceFile } from "../divergence/reference-file.js";
import { describeVariant, runLlama } from "./llama-programs.js";

/** Suffix of the metrics and what it takes; the first is what users get. */
const variants: readonly (readonly [string, readonly string[]])[] = [
  ["", []],
  ["-int8-kv", ["-fa", "on", "-ctk", "q8_0", "-ctv", "q8_0"]],
];

/** Mean KL in thousandths of a nat and the share of rows with the same likeliest token in percent, as the program prints them. */
export function readStatistics(text: string): { kl: number; top: number } {
  const kl = /^Mean +KLD: +(-?[\d.]+)/m.exec(text)?.[1];
  const top = /^Same top p: +([\d.]+)/m.exec(text)?.[1];
  if (kl === undefined || top === undefined)
    throw new Error(`llama-perplexity printed no divergence: ${text.slice(-500)}`);
  return { kl: 1000 * Number(kl), top: Number(top) };
}

async function measure(task: Task, settings: TrialSettings): Promise<Samples> {
  const { model, threads, reference } = settings;
  if (task.kind !== "divergence" || reference === undefined)
    throw new Error(`llama-perplexity has no way to measure ${task.kind}`);
  const file = new ReferenceFile(reference);
  const { rows } = file;
  file.close();
  const samples: Samples = {};
  for (const [name, more] of variants) {
    if (!task.paths.includes(name)) continue;
    const base = [
      "--kl-divergence",
      "--kl-divergence-base",
      reference,
      "-c",
      String(rows),
      "-b",
      String(rows),
    ];
    const { stdout, stderr } = await runLlama("llama-perplexity", [
      ...["-m", model, "-t", String(threads), ...base],
      ...more,
    ]);
    const { kl, top } = readStatistics(`${stdout}\n${stderr}`);
    samples[`kl${name}`] = [kl];
    samples[`top${name}`] = [top];
  }
  return samples;
}

export const llamaPerplexity: Subject = {
  name: "llama-perplexity",
  rival: true,
  family: "llama.cpp",
  setup: "setup.mjs",
  kinds: ["divergence"],
  measure,
  async describe({ model }) {
    const variant = await describeVariant(model);
    return `llama.cpp's perplexity, ${variant}, flash attention auto, K and V f16 (int8-kv: on, q8_0)`;
  },
};
