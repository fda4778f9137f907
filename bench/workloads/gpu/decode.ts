// SPDX-License-Identifier: Apache-2.0
// Greedy tokens per second of one sequence on a device, and the bytes that they read at least: weights once, KV as far as
// the context goes. What of a copy's bandwidth that is tells docs/gpu.md, from the ceilings of the same run.
import type { Workload } from "../../contract.js";
import { gpuModels } from "./models.js";

export const gpuDecode: Workload = {
  name: "gpu-decode",
  suite: "gpu",
  metrics: [
    { name: "decode", unit: "tok/s", better: "higher" },
    { name: "bandwidth", unit: "GB/s", better: "higher" },
  ],
  floors: [],
  cases: (quick) =>
    gpuModels(quick).flatMap(({ model, name }) =>
      (quick ? [128] : [128, 2048, 8192]).map((context) => ({
        id: `gpu-decode-${name}-${context}`,
        model,
        task: { kind: "decode", context, tokens: 128, repetitions: 3, warmup: true },
        trials: quick ? 1 : 3,
      })),
    ),
};
