// SPDX-License-Identifier: Apache-2.0
// The compressor's texts decoded behind their passages, with guesses of what they quote and without. The texts are the
// gold ones of items spread evenly over all.
import { compressAnswer } from "../chains/data.js";
import type { Workload } from "../contract.js";

export const drafting: Workload = {
  name: "drafting",
  suite: "engine",
  metrics: [
    { name: "decode", unit: "tok/s", better: "higher" },
    { name: "decode-drafted", unit: "tok/s", better: "higher" },
    { name: "drafted-time", unit: "of the time", better: "lower" },
  ],
  floors: [{ metric: "drafted-time", atMost: 1 / 1.4 }],
  cases: (quick) => {
    const items = quick ? 4 : 16;
    return [
      {
        id: `drafting-${items}`,
        task: { kind: "drafting" },
        trials: quick ? 1 : 3,
        chains: (sources) => compressAnswer(sources, items),
      },
    ];
  },
};
