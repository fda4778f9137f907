// SPDX-License-Identifier: Apache-2.0
// compress -> answer with gold texts: the compressor reads five passages, the answer stage the question and what the
// compressor wrote. A few items are timed, evenly spaced over all; rows are counted of more, many running at once.
import { compressAnswer } from "../chains/data.js";
import type { Workload } from "../contract.js";
import { chainMetrics } from "./chain-metrics.js";

export const compressAnswerChain: Workload = {
  name: "compress-answer",
  suite: "chain",
  metrics: chainMetrics,
  floors: [
    { metric: "hand-over", against: "baton-recompute", atMostShare: 0.25 },
    { metric: "time", against: "node-llama-cpp", factor: 1.5 },
  ],
  cases: (quick) => {
    const [timed, counted] = quick ? [1, 4] : [2, 24];
    return [
      {
        id: `compress-answer-${timed}`,
        task: { kind: "chain" },
        trials: quick ? 1 : 3,
        chains: (sources) => compressAnswer(sources, timed),
      },
      {
        id: `compress-answer-${counted}`,
        task: { kind: "rows" },
        trials: 1,
        untimed: true,
        chains: (sources) => compressAnswer(sources, counted),
      },
    ];
  },
};
