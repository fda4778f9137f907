// SPDX-License-Identifier: Apache-2.0
// Eight branches of one role over one long trunk, decoded in one batch. kv: the KV pool's peak with all branches;
// kv-growth: that over its peak with one branch.
import { fanOutChain } from "../chains/synthetic.js";
import type { Workload } from "../contract.js";

export const fanOut: Workload = {
  name: "fan-out",
  suite: "chain",
  metrics: [
    { name: "time", unit: "ms", better: "lower" },
    { name: "rows", unit: "rows", better: "lower" },
    { name: "kv", unit: "MB", better: "lower" },
    { name: "kv-growth", unit: "x", better: "lower" },
  ],
  floors: [
    { metric: "kv-growth", atMost: 1.2 },
    { metric: "time", against: "node-llama-cpp", factor: 4 },
  ],
  cases: (quick) => {
    const trunk = quick ? 500 : 2000;
    return [
      {
        id: `fan-out-8-${trunk}`,
        task: { kind: "fan-out" },
        trials: quick ? 1 : 2,
        chains: (sources) => [fanOutChain(sources, { trunk, branches: 8, tokens: 32 })],
      },
    ];
  },
};
