// SPDX-License-Identifier: Apache-2.0
// Branches that decode in one batch behind one trunk of 8,192 rows. kv-growth: what the pool held at most with eight of
// them, over the same with one.
import type { Workload } from "../../contract.js";
import { small } from "./models.js";

export const gpuBatch: Workload = {
  name: "gpu-batch",
  suite: "gpu",
  metrics: [
    { name: "decode-1", unit: "tok/s", better: "higher" },
    { name: "decode-8", unit: "tok/s", better: "higher" },
    { name: "gain", unit: "x one", better: "higher" },
    { name: "kv-growth", unit: "x", better: "lower" },
  ],
  floors: [{ metric: "kv-growth", atMost: 1.2 }],
  cases: (quick) => [
    {
      id: "gpu-batch-shared-8192",
      model: small.model,
      task: { kind: "batch", context: 8192, shared: true, counts: [1, 8], tokens: 64, repetitions: 3 },
      trials: quick ? 1 : 3,
    },
  ],
};
