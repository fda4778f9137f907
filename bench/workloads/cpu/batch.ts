// SPDX-License-Identifier: Apache-2.0
// Several chains that decode in one batch, all together: each behind 128 rows of its own, and all behind one trunk of
// 2,048 rows. gain: eight of them over one, turn by turn.
import type { Workload } from "../../contract.js";

const counts = [1, 2, 4, 8, 16] as const;

export const cpuBatch: Workload = {
  name: "cpu-batch",
  suite: "cpu",
  metrics: [
    ...[8, 1, 2, 4, 16].map((count) => ({
      name: `decode-${count}`,
      unit: "tok/s",
      better: "higher" as const,
    })),
    { name: "gain", unit: "x one", better: "higher" },
  ],
  floors: [
    { metric: "gain", atLeast: 4 },
    { metric: "decode-8", against: "llama-batched-bench", factor: 3 },
  ],
  cases: (quick) =>
    [false, true].map((shared) => ({
      id: `cpu-batch-${shared ? "shared-2048" : "own-128"}`,
      task: {
        kind: "batch",
        context: shared ? 2048 : 128,
        shared,
        counts: quick ? [1, 8] : counts,
        tokens: quick ? 16 : 32,
        repetitions: shared || quick ? 1 : 2,
      },
      trials: quick && shared ? 1 : quick ? 2 : 3,
    })),
};
