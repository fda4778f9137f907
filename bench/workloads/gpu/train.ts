// SPDX-License-Identifier: Apache-2.0
// A step of prompt tuning on a device: 64 rows behind a frozen text of 4,096. PEFT's step over the same lengths is
// bench/gpu/peers.py.
import { trainingChains } from "../../chains/synthetic.js";
import type { Workload } from "../../contract.js";
import { large } from "./models.js";

export const gpuTrain: Workload = {
  name: "gpu-train",
  suite: "gpu",
  metrics: [
    { name: "step", unit: "ms", better: "lower" },
    { name: "item-time", unit: "ms", better: "lower" },
  ],
  floors: [],
  cases: (quick) => [
    {
      id: `gpu-train-${large.name}`,
      model: large.model,
      task: { kind: "train", stage: "answer", batch: 1, repetitions: 5 },
      trials: quick ? 1 : 3,
      chains: (sources) => trainingChains(sources, { count: 1, read: 4096, written: 64 }),
    },
  ],
};
