// SPDX-License-Identifier: Apache-2.0
// A step of prompt tuning on a device: a batch of four, each a frozen text of 1,040 rows behind which 128 rows are
// trained. PEFT's step over the same lengths is bench/gpu/peers.py.
import { trainingChains } from "../../chains/synthetic.js";
import type { Workload } from "../../contract.js";
import { small } from "./models.js";

const batch = 4;

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
      id: `gpu-train-${small.name}`,
      model: small.model,
      task: { kind: "train", stage: "answer", batch, repetitions: 5 },
      trials: quick ? 1 : 3,
      chains: (sources) => trainingChains(sources, { count: batch, read: 1040, written: 128 }),
    },
  ],
};
