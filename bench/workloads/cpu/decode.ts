// SPDX-License-Identifier: Apache-2.0
// Greedy tokens per second of one sequence, and of what share of the read bandwidth it makes use, which is measured
// between the turns: weights once, and KV as far as the context goes.
import type { Floor, Workload } from "../../contract.js";
import { speedModels } from "./speed-models.js";

const short = /-128$/;
const long = /-2048$/;

/** Of machines without AVX-512 nothing was said of short contexts: what was said of those with AMX stands for them. */
function floorsAgainst(against: string): Floor[] {
  return [
    { metric: "decode", against, factor: 1.1, cases: short, on: ["amx", "avx2"] },
    { metric: "decode", against, factor: 1.5, cases: short, on: ["avx512"] },
    { metric: "decode", against, factor: 2.5, cases: long },
  ];
}

export const cpuDecode: Workload = {
  name: "cpu-decode",
  suite: "cpu",
  metrics: [
    { name: "decode", unit: "tok/s", better: "higher" },
    { name: "bandwidth", unit: "GB/s", better: "higher" },
  ],
  floors: [
    ...floorsAgainst("llama-bench"),
    ...floorsAgainst("node-llama-cpp"),
    { metric: "bandwidth", against: "limits", factor: 0.8 },
  ],
  cases: (quick, choice) =>
    speedModels(choice).flatMap(({ model, name, isLarge }) =>
      (quick ? [128, 2048] : [128, 512, 2048]).map((context) => ({
        id: `cpu-decode-${name}-${context}`,
        model,
        task: {
          kind: "decode",
          context,
          tokens: quick ? 24 : 32,
          repetitions: context > 512 || isLarge ? 2 : 3,
          warmup: context <= 512,
        },
        trials: quick && context > 512 ? 1 : isLarge ? 2 : 3,
        beside: ["limits"],
      })),
    ),
};
