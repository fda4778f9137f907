// SPDX-License-Identifier: Apache-2.0
// Sub-agents over one trunk: how long a fork takes, how much KV all of them hold beside the trunk's own, what a closed
// branch gives back, and a rewind.
import type { Workload } from "../../contract.js";

export const cacheBranches: Workload = {
  name: "cache-branches",
  suite: "cache",
  metrics: [
    { name: "fork", unit: "µs", better: "lower" },
    { name: "rewind", unit: "µs", better: "lower" },
    { name: "kv-held", unit: "of the trunk's", better: "lower" },
    { name: "kv-left", unit: "of the trunk's", better: "lower" },
  ],
  floors: [
    // 32 branches with a block each beside the trunk; after they are closed, the trunk alone.
    { metric: "kv-held", atMost: 1.07 },
    { metric: "kv-left", atMost: 1 },
  ],
  cases: (quick) => [
    {
      id: "cache-branches-32",
      task: { kind: "branches", trunk: 8160, count: 32, repetitions: quick ? 3 : 7 },
      trials: quick ? 1 : 3,
    },
  ],
};
