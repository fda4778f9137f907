// SPDX-License-Identifier: Apache-2.0
// PyTorch, training: the released FTHSS form, and PEFT on the text hand-over (rivals/train.py). bfloat16 or float32,
// whichever a short probe finds faster on this machine.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promptRows } from "../chains/forced-chain.js";
import type { Samples, Subject, Task, TrialSettings } from "../contract.js";
import { rivals } from "../runner/paths.js";
import { runPython } from "./python.js";

interface Trained {
  /** Per item, one entry a repetition. */
  seconds: number[];
  peakBytes: number;
}

const script = path.join(rivals, "train.py");

/** float32 or bfloat16, found once per case: the answer lies beside the case's chains. */
async function fasterDtype({ model, chains, threads }: TrialSettings): Promise<string> {
  const kept = `${chains ?? ""}.dtype`;
  if (existsSync(kept)) return readFileSync(kept, "utf8");
  const stdout = await runPython([script, "--form", "probe", "--model", model, "--threads", String(threads)]);
  const { dtype } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as { dtype: string };
  writeFileSync(kept, dtype);
  return dtype;
}

async function measure(form: string, task: Task, settings: TrialSettings): Promise<Samples> {
  if (task.kind !== "train") throw new Error(`${form} has no way to measure ${task.kind}`);
  const values: Record<string, string | number> = {
    form,
    model: settings.model,
    chains: settings.chains ?? "",
    stage: task.stage,
    batch: form === "fthss" ? 1 : task.batch,
    repetitions: task.repetitions,
    threads: settings.threads,
    "virtual-tokens": promptRows,
    dtype: await fasterDtype(settings),
  };
  const flags = Object.entries(values).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const stdout = await runPython([script, ...flags]);
  const { seconds, peakBytes } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Trained;
  return { "item-time": seconds.map((one) => one * 1000), "peak-rss": [peakBytes / 1e6] };
}

function pytorchSubject(form: string, what: string): Subject {
  return {
    name: form,
    rival: true,
    kinds: ["train"],
    setup: "setup-python.mjs",
    measure: (task, settings) => measure(form, task, settings),
    async describe() {
      const text =
        "import torch, transformers, peft; print(torch.__version__, transformers.__version__, peft.__version__)";
      const [torch, transformers, peft] = (await runPython(["-c", text])).trim().split(" ");
      return `${what}; PyTorch ${torch}, transformers ${transformers}, PEFT ${peft}; the faster of float32 and bfloat16`;
    },
  };
}

export const fthss = pytorchSubject(
  "fthss",
  "released FTHSS form: whole sequence, dense mask, batch 1, everything computed in every step",
);
export const peft = pytorchSubject("peft", "PEFT prompt tuning on the text hand-over, padded batches");
