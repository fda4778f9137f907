// SPDX-License-Identifier: Apache-2.0
// int8 KV beside f16 KV: tokens per second in turns (gain), and the bytes of the same rows.
import type { Workload } from "../../contract.js";

export const cpuKv: Workload = {
  name: "cpu-kv",
  suite: "cpu",
  metrics: [
    { name: "decode-f16", unit: "tok/s", better: "higher" },
    { name: "decode-int8", unit: "tok/s", better: "higher" },
    { name: "gain", unit: "x f16", better: "higher" },
    { name: "kv-bytes", unit: "of f16", better: "lower" },
  ],
  floors: [
    { metric: "gain", atLeast: 1.12, cases: /-2048$/ },
    { metric: "gain", atLeast: 1.2, cases: /-8192$/ },
    { metric: "kv-bytes", atMost: 0.53 },
  ],
  cases: (quick, { shapes }) => {
    const own = {
      id: "cpu-kv-2048",
      task: { kind: "kv", context: 2048, tokens: 32, repetitions: 3 },
      trials: quick ? 1 : 3,
    } as const;
    const large = {
      id: "cpu-kv-llama32-1b-Q4_0-8192",
      model: { shape: "llama32-1b", type: "Q4_0" },
      task: { kind: "kv", context: 8192, tokens: 16, repetitions: 3 },
      trials: 2,
    } as const;
    return shapes.includes("llama32-1b") ? [own, large] : [own];
  },
};
