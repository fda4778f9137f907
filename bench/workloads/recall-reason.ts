// SPDX-License-Identifier: Apache-2.0
// recall <-> reason with gold texts: two roles take turns, three to eleven of them, and each reads everything before.
// A few items are timed, evenly spaced over all; the rows of all items are counted with many of them running at once.
import { recallReason } from "../chains/data.js";
import type { Workload } from "../contract.js";
import { chainMetrics } from "./chain-metrics.js";

export const recallReasonChain: Workload = {
  name: "recall-reason",
  suite: "chain",
  metrics: chainMetrics,
  floors: [
    { metric: "rows", against: "baton-recompute", atMostShare: 0.55 },
    { metric: "time", against: "node-llama-cpp", factor: 2 },
  ],
  cases: (quick) => {
    const [timed, counted] = quick ? [1, 12] : [3, undefined];
    return [
      {
        id: `recall-reason-${timed}`,
        task: { kind: "rounds" },
        trials: quick ? 1 : 3,
        chains: (sources) => recallReason(sources, timed),
      },
      {
        id: `recall-reason-${counted ?? "all"}`,
        task: { kind: "rows" },
        trials: 1,
        untimed: true,
        chains: (sources) => recallReason(sources, counted),
      },
    ];
  },
};
