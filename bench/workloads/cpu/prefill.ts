// SPDX-License-Identifier: Apache-2.0
// Prompt rows per second into an empty cache, for every shape and weight type.
import type { Floor, Workload } from "../../contract.js";
import { speedModels } from "./speed-models.js";

function floorsAgainst(against: string): Floor[] {
  return [
    { metric: "prefill", against, factor: 3, on: ["amx"] },
    { metric: "prefill", against, factor: 2, on: ["avx512"] },
    { metric: "prefill", against, factor: 1.3, on: ["avx2"] },
  ];
}

export const cpuPrefill: Workload = {
  name: "cpu-prefill",
  suite: "cpu",
  metrics: [{ name: "prefill", unit: "tok/s", better: "higher" }],
  floors: [...floorsAgainst("llama-bench"), ...floorsAgainst("node-llama-cpp")],
  cases: (quick, choice) =>
    speedModels(choice).flatMap(({ model, name, isLarge }) =>
      (quick ? [128, 512] : [128, 512, 2048]).map((rows) => ({
        id: `cpu-prefill-${name}-${rows}`,
        model,
        task: {
          kind: "prefill",
          rows,
          repetitions: rows > 128 || isLarge ? 1 : 3,
          warmup: rows <= 128 || (!quick && rows <= 512 && !isLarge),
        },
        trials: quick || isLarge ? 2 : 3,
      })),
    ),
};
