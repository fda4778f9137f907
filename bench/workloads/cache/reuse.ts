// SPDX-License-Identifier: Apache-2.0
// Rows that another segment has had: found in the pool by their content, or read back from the folder that an earlier
// process left, each against computing them again.
import type { Case, Workload } from "../../contract.js";

export const cacheReuse: Workload = {
  name: "cache-reuse",
  suite: "cache",
  metrics: [
    { name: "first-token", unit: "ms", better: "lower" },
    { name: "first-token-computed", unit: "ms", better: "lower" },
    { name: "gain", unit: "x computed", better: "higher" },
    { name: "tier-speed", unit: "GB/s", better: "higher" },
  ],
  floors: [{ metric: "gain", atLeast: 15 }],
  cases: (quick) =>
    (["index", "disk"] as const).map(
      (from): Case => ({
        id: `cache-reuse-${from}-2048`,
        task: { kind: "reuse", from, rows: 2048, repetitions: quick ? 2 : 5 },
        trials: quick ? 1 : 3,
      }),
    ),
};
