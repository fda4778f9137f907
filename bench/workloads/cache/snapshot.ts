// SPDX-License-Identifier: Apache-2.0
// Rows saved to a file and brought back, checksums included, beside llama.cpp's state of a sequence; and what that is
// worth: the first token behind restored rows against computing them again.
import type { Case, Workload } from "../../contract.js";

const rows = 2048;

export const cacheSnapshot: Workload = {
  name: "cache-snapshot",
  suite: "cache",
  metrics: [
    { name: "save", unit: "ms", better: "lower" },
    { name: "restore", unit: "ms", better: "lower" },
    { name: "file", unit: "MB", better: "lower" },
    { name: "first-token", unit: "ms", better: "lower" },
    { name: "first-token-computed", unit: "ms", better: "lower" },
    { name: "gain", unit: "x computed", better: "higher" },
  ],
  floors: [
    { metric: "save", against: "node-llama-cpp", factor: 1 },
    { metric: "restore", against: "node-llama-cpp", factor: 1 },
    { metric: "gain", atLeast: 15 },
    { metric: "file", against: "node-llama-cpp", atMostShare: 0.55, cases: /int8$/ },
  ],
  cases: (quick) =>
    ([undefined, "int8"] as const).map((kvType): Case => {
      const kv = kvType === undefined ? {} : { kvType };
      return {
        id: `cache-snapshot-${rows}${kvType === undefined ? "" : `-${kvType}`}`,
        task: { kind: "snapshot", rows, repetitions: quick ? 3 : 9, ...kv },
        trials: quick ? 1 : 3,
      };
    }),
};
