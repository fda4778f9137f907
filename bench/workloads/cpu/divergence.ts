// SPDX-License-Identifier: Apache-2.0
// Speed does not buy error: next-token distributions on real text beside those of float32, for every way that a row can
// take (subjects/divergence.ts) and for llama.cpp on the same file. kl: mean KL(reference || it); top: rows with the same
// likeliest token. Of a chunk the second half is scored, as llama.cpp's tool does. The run's model as it is by every
// path, and with its weights in other types by those that a type can change; F32 has no fast path.
import type { Case, Floor, Metric, Workload } from "../../contract.js";

/** Suffixes of subjects/divergence.ts. */
const all = ["", "-one-by-one", "-invariant", "-bf16-kv", "-int8-kv"];
const ofTypes = ["", "-one-by-one", "-int8-kv"];

const metrics: Metric[] = all.flatMap((path) => [
  { name: `kl${path}`, unit: "1e-3 nats", better: "lower" },
  { name: `top${path}`, unit: "%", better: "higher" },
]);

/** The last digit that llama.cpp's tool prints of each. */
const slack = { kl: 0.001, top: 0.001 };

const floors: Floor[] = (["kl", "top"] as const).flatMap((figure) =>
  all.map((path) => ({
    ...{ metric: `${figure}${path}`, against: "llama-perplexity", noWorse: true, slack: slack[figure] },
    ...(path === "" ? {} : { theirs: figure }),
  })),
);

export const cpuDivergence: Workload = {
  name: "cpu-divergence",
  suite: "cpu",
  metrics,
  floors,
  // 8 x 511 rows are scored: 4,088 distributions.
  cases: (quick, { types }) => {
    const reference = quick ? { chunks: 2, rows: 256 } : { chunks: 8, rows: 1024 };
    const rest = { reference, trials: 1, untimed: true };
    const size = quick ? "short" : "4096";
    const own: Case = { id: `cpu-divergence-${size}`, task: { kind: "divergence", paths: all }, ...rest };
    if (quick) return [own];
    const retyped = types.flatMap((type): Case[] => {
      const task = { kind: "divergence", paths: ofTypes } as const;
      return type === "F32"
        ? []
        : [{ id: `cpu-divergence-as-${type}-${size}`, task, retyped: type, ...rest }];
    });
    return [own, ...retyped];
  },
};
