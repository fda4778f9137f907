// SPDX-License-Identifier: Apache-2.0
// Speed does not buy error: next-token distributions on real text beside those of float32, for every way that a row can
// take (subjects/divergence.ts) and for llama.cpp on the same file. kl: mean KL(reference || it) in nats; top: rows
// with the same likeliest token. Of a chunk the second half is scored, as llama.cpp's tool does.
import type { Floor, Metric, Workload } from "../../contract.js";

/** Suffixes of subjects/divergence.ts. */
const paths = ["", "-one-by-one", "-invariant", "-bf16-kv", "-int8-kv"];

const metrics: Metric[] = paths.flatMap((path) => [
  { name: `kl${path}`, unit: "nats", better: "lower" },
  { name: `top${path}`, unit: "%", better: "higher" },
]);

const floors: Floor[] = ["kl", "top"].flatMap((figure) =>
  paths.map((path) => ({
    metric: `${figure}${path}`,
    against: "llama-perplexity",
    factor: 1,
    ...(path === "" ? {} : { theirs: figure }),
  })),
);

export const cpuDivergence: Workload = {
  name: "cpu-divergence",
  suite: "cpu",
  metrics,
  floors,
  // 8 x 512 rows of 1,024 are scored: 4,088 distributions.
  cases: (quick) => [
    {
      id: `cpu-divergence-${quick ? "short" : "4096"}`,
      task: { kind: "divergence" },
      reference: quick ? { chunks: 2, rows: 256 } : { chunks: 8, rows: 1024 },
      trials: 1,
      untimed: true,
    },
  ],
};
