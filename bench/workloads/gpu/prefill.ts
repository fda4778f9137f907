// SPDX-License-Identifier: Apache-2.0
// Prompt rows per second into an empty cache, through the API, on a device.
import type { Workload } from "../../contract.js";
import { gpuModels } from "./models.js";

export const gpuPrefill: Workload = {
  name: "gpu-prefill",
  suite: "gpu",
  metrics: [{ name: "prefill", unit: "tok/s", better: "higher" }],
  floors: [],
  cases: (quick) =>
    gpuModels(quick).flatMap(({ model, name }) =>
      (quick ? [2048] : [512, 2048, 8192]).map((rows) => ({
        id: `gpu-prefill-${name}-${rows}`,
        model,
        task: { kind: "prefill", rows, repetitions: 3, warmup: true },
        trials: quick ? 1 : 3,
      })),
    ),
};
