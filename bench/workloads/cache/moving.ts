// SPDX-License-Identifier: Apache-2.0
// Decoding while the KV of 2,048 rows that were let go moves to a folder: what that costs, and the longest wait for a
// token, alone and beside it.
import type { Workload } from "../../contract.js";

export const cacheMoving: Workload = {
  name: "cache-moving",
  suite: "cache",
  metrics: [
    { name: "decode-beside", unit: "tok/s", better: "higher" },
    { name: "decode-alone", unit: "tok/s", better: "higher" },
    { name: "kept", unit: "of alone", better: "higher" },
    { name: "longest-beside", unit: "ms", better: "lower" },
    { name: "longest-alone", unit: "ms", better: "lower" },
  ],
  floors: [{ metric: "kept", atLeast: 0.8 }],
  cases: (quick) => [
    {
      id: "cache-moving-2048",
      task: { kind: "moving", rows: 2048, context: 128, tokens: 64, repetitions: quick ? 2 : 5 },
      trials: quick ? 1 : 3,
    },
  ],
};
