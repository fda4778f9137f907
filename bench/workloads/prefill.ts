// SPDX-License-Identifier: Apache-2.0
// Prompt rows per second into an empty cache.
import type { Workload } from "../contract.js";

export const prefill: Workload = {
  name: "prefill",
  suite: "engine",
  metrics: [{ name: "prefill", unit: "tok/s", better: "higher" }],
  floors: [{ metric: "prefill", against: "llama-bench", factor: 0.7 }],
  cases: (quick) =>
    (quick ? [128, 512] : [128, 512, 2048]).map((rows) => ({
      id: `prefill-${rows}`,
      // A warm-up as long as the longest prompt would cost more than it could change.
      task: { kind: "prefill", rows, repetitions: rows > 512 ? 1 : 3, warmup: rows <= 512 },
      trials: quick ? 3 : 5,
    })),
};
