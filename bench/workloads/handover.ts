// SPDX-License-Identifier: Apache-2.0
// What sharing a cache is for: 2048 rows stand there, the next stage brings a 16-token opener and answers. The rivals'
// nearest route is to keep the 2048 rows as the prefix of one sequence and to append 16 tokens.
import type { Workload } from "../contract.js";

export const handover: Workload = {
  name: "handover",
  suite: "engine",
  metrics: [{ name: "first-token", unit: "ms", better: "lower" }],
  floors: [
    { metric: "first-token", against: "node-llama-cpp", factor: 3 },
    { metric: "first-token", against: "llama-bench", factor: 3 },
  ],
  cases: (quick) => [
    {
      id: "handover-2048",
      task: { kind: "handover", prefix: 2048, opener: 16, repetitions: 5 },
      trials: quick ? 3 : 5,
    },
  ],
};
