// SPDX-License-Identifier: Apache-2.0
// Greedy tokens per second of one sequence behind a context of cached rows.
import type { Workload } from "../contract.js";

export const decode: Workload = {
  name: "decode",
  suite: "engine",
  metrics: [{ name: "decode", unit: "tok/s", better: "higher" }],
  floors: [{ metric: "decode", against: "llama-bench", factor: 0.7 }],
  cases: (quick) =>
    (quick ? [128, 512] : [128, 512, 2048]).map((context) => ({
      id: `decode-${context}`,
      task: {
        kind: "decode",
        context,
        tokens: 32,
        repetitions: context > 512 ? 1 : 3,
        warmup: context <= 512,
      },
      trials: quick ? 3 : 5,
    })),
};
