// SPDX-License-Identifier: Apache-2.0
// 2,048 rows stand there, 16 new ones come: the time to the first token behind them.
import type { Workload } from "../../contract.js";

export const cpuHandover: Workload = {
  name: "cpu-handover",
  suite: "cpu",
  metrics: [{ name: "first-token", unit: "ms", better: "lower" }],
  floors: [
    { metric: "first-token", against: "llama-bench", factor: 7 },
    { metric: "first-token", against: "node-llama-cpp", factor: 7 },
  ],
  cases: (quick) => [
    {
      id: "cpu-handover-2048",
      task: { kind: "handover", prefix: 2048, opener: 16, repetitions: quick ? 3 : 5 },
      trials: quick ? 1 : 3,
    },
  ],
};
