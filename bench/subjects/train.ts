// SPDX-License-Identifier: Apache-2.0
// Ours, training: tune() as users call it, on the texts of the case's chains.
import { readFileSync } from "node:fs";
import type { ForcedChain } from "../chains/forced-chain.js";
import { promptRows } from "../chains/forced-chain.js";
import type { Samples, Task, TrialSettings } from "../contract.js";
import { packageUrl } from "../runner/paths.js";

type Package = typeof import("../../src/index.js");

/** Peak resident bytes of this process so far. */
function peakBytes(): number {
  const status = readFileSync("/proc/self/status", "utf8");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

/** Small numbers that are the same in every run. */
function promptValues(hidden: number): Float32Array {
  return Float32Array.from({ length: promptRows * hidden }, (_, i) => (((i * 31) % 101) / 101 - 0.5) / 5);
}

export async function measureTraining(
  task: Task & { kind: "train" },
  settings: TrialSettings,
): Promise<Samples> {
  const { loadModel, defineChain, tune } = (await import(packageUrl)) as Package;
  const chains = JSON.parse(readFileSync(settings.chains ?? "", "utf8")) as ForcedChain[];
  const textOf = (chain: ForcedChain, name: string) =>
    [...chain.inputs, ...chain.turns].find((one) => one.name === name)?.text.trimStart() ?? "";
  const data = chains.map((chain) =>
    Object.fromEntries(
      ["question", "passages", "compress", "answer"].map((name) => [name, textOf(chain, name)]),
    ),
  );
  const model = await loadModel(settings.model, {
    device: settings.device as "cpu",
    threads: settings.threads,
  });
  const prompt = { rows: promptValues(model.info.hidden), count: promptRows };
  const chain = defineChain(model)
    .input("question")
    .input("passages")
    .stage("compress", { prompt, own: ["passages"], reads: ["question"] })
    .stage("answer", { prompt, reads: ["question", "compress"] });
  const tuning = tune(chain, {
    stages: [task.stage as "compress" | "answer"],
    data,
    batchSize: task.batch,
    epochs: task.repetitions + 1,
    learningRate: 1e-4,
    frozenFolder: null,
  });
  const values: number[] = [];
  let begin = 0;
  for await (const { epoch } of tuning) {
    if (!Number.isInteger(epoch)) continue;
    const now = performance.now();
    if (epoch > 1) values.push((now - begin) / data.length);
    begin = now; // the first epoch computes the frozen rows
  }
  await tuning.result;
  await model.close();
  const steps = Math.ceil(data.length / task.batch); // of an epoch
  const step = values.map((item) => (item * data.length) / steps);
  return { "item-time": values, step, "peak-rss": [peakBytes() / 1e6] };
}
