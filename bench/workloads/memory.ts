// SPDX-License-Identifier: Apache-2.0
// Peak resident memory of the whole process, mapped weights that were touched included.
import type { Workload } from "../contract.js";

export const memory: Workload = {
  name: "memory",
  suite: "engine",
  metrics: [{ name: "peak-rss", unit: "MB", better: "lower" }],
  floors: [],
  cases: (quick) => [
    { id: "memory-2048", task: { kind: "memory", rows: 2048, tokens: 32 }, trials: quick ? 1 : 3 },
  ],
};
