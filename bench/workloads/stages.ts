// SPDX-License-Identifier: Apache-2.0
// Four roles over one long context, each reads it and the outputs before its own.
import { stagesChain } from "../chains/synthetic.js";
import type { Workload } from "../contract.js";
import { chainMetrics } from "./chain-metrics.js";

export const stages: Workload = {
  name: "stages",
  suite: "chain",
  metrics: chainMetrics,
  floors: [
    { metric: "rows", against: "baton-recompute", atMostShare: 0.4 },
    { metric: "time", against: "baton-recompute", factor: 2 },
    { metric: "time", against: "node-llama-cpp", factor: 3 },
  ],
  cases: (quick) => {
    const context = quick ? 500 : 2000;
    return [
      {
        id: `stages-4-${context}`,
        task: { kind: "chain" },
        trials: quick ? 1 : 3,
        chains: (sources) => [stagesChain(sources, { context, stages: 4, tokens: 32 })],
      },
    ];
  },
};
