// SPDX-License-Identifier: Apache-2.0
// 8,192 rows stand in the device's memory, 32 new ones come: the time to the first token behind them. Peers that prefill all
// of it again, or kept the prefix, are bench/gpu/peers.py.
import type { Workload } from "../../contract.js";
import { large } from "./models.js";

export const gpuHandover: Workload = {
  name: "gpu-handover",
  suite: "gpu",
  metrics: [{ name: "first-token", unit: "ms", better: "lower" }],
  floors: [],
  cases: (quick) => [
    {
      id: `gpu-handover-8192-${large.name}`,
      model: large.model,
      task: { kind: "handover", prefix: 8192, opener: 32, repetitions: 10 },
      trials: quick ? 1 : 3,
    },
  ],
};
