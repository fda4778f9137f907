// SPDX-License-Identifier: Apache-2.0
// Optimiser steps of prompt tuning on compress -> answer: the answer stage, whose inputs are all frozen, and the
// compress stage, whose own input is live. Ours after an epoch, when frozen rows are at hand.
import { compressAnswer } from "../chains/data.js";
import type { Floor, Workload } from "../contract.js";

function trainWorkload(stage: string, batch: number, floors: readonly Floor[]): Workload {
  return {
    name: `train-${stage}`,
    suite: "train",
    metrics: [
      { name: "item-time", unit: "ms", better: "lower" },
      { name: "peak-rss", unit: "MB", better: "lower" },
    ],
    floors,
    cases: (quick) => [
      {
        id: `train-${stage}-${quick ? "quick" : batch}`,
        task: { kind: "train", stage, batch, repetitions: 1 },
        trials: quick ? 1 : 3,
        chains: (sources) => compressAnswer(sources, batch),
      },
    ],
  };
}

export const trainAnswer = trainWorkload("answer", 8, [
  { metric: "item-time", against: "fthss", factor: 35 },
  { metric: "item-time", against: "peft", factor: 12 },
  { metric: "peak-rss", against: "peft", atMostShare: 0.25 },
]);

export const trainCompress = trainWorkload("compress", 4, [
  { metric: "item-time", against: "peft", factor: 2.5 },
]);
