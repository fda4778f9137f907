// SPDX-License-Identifier: Apache-2.0
// Decoding under a grammar beside decoding without one, in turns: what masks cost. The grammar is a JSON Schema of records with
// names, numbers and texts that never comes to its end.
import type { Workload } from "../contract.js";

export const constrained: Workload = {
  name: "constrained",
  suite: "engine",
  metrics: [
    { name: "decode-free", unit: "tok/s", better: "higher" },
    { name: "decode-constrained", unit: "tok/s", better: "higher" },
    { name: "constrained-time", unit: "of the time", better: "lower" },
    { name: "compile", unit: "ms", better: "lower" },
  ],
  floors: [{ metric: "constrained-time", atMost: 1.05 }],
  cases: (quick) => [
    {
      id: "constrained-128",
      task: { kind: "constrained", context: 128, tokens: 128, repetitions: 5 },
      trials: quick ? 1 : 3,
    },
  ],
};
