// SPDX-License-Identifier: Apache-2.0
// Lookup drafting on the compressor's texts (workloads/drafting.ts says what is timed), and whether a model with
// batchInvariant writes the same tokens with guesses as without when it writes what it likes.
import type { Workload } from "../../contract.js";
import { drafting } from "../drafting.js";

export const cpuDrafting: Workload = {
  ...drafting,
  name: "cpu-drafting",
  suite: "cpu",
  metrics: [...drafting.metrics, { name: "same-outputs", unit: "of outputs", better: "higher" }],
  floors: [...drafting.floors, { metric: "same-outputs", atLeast: 1 }],
  cases: (quick, choice) =>
    drafting.cases(quick, choice).map((one) => ({
      ...one,
      id: `cpu-${one.id}`,
      task: { kind: "drafting", free: quick ? 2 : 4 },
    })),
};
