// SPDX-License-Identifier: Apache-2.0
// A chain of eight roles over one context on a device, each of which reads the context and every output before it: shared
// KV against the same engine that reads all of it anew at each hand-over (baton-recompute).
import { stagesChain } from "../../chains/synthetic.js";
import type { Workload } from "../../contract.js";
import { small } from "./models.js";

export const gpuChain: Workload = {
  name: "gpu-chain",
  suite: "gpu",
  metrics: [
    { name: "time", unit: "ms", better: "lower" },
    { name: "hand-over", unit: "ms", better: "lower" },
    { name: "rows", unit: "rows", better: "lower" },
  ],
  floors: [],
  cases: (quick) => [
    {
      id: "gpu-chain-8-4096",
      model: small.model,
      task: { kind: "chain" },
      trials: quick ? 1 : 3,
      chains: (sources) => [stagesChain(sources, { context: 4096, stages: 8, tokens: 64 })],
    },
  ],
};
