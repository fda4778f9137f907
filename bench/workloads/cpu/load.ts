// SPDX-License-Identifier: Apache-2.0
// From importing the package to the first token behind 16 rows, with a warm page cache; resident memory then, as a share
// of the file: of the whole process, and without what Node had before. The promise is held against both.
import type { Workload } from "../../contract.js";

export const cpuLoad: Workload = {
  name: "cpu-load",
  suite: "cpu",
  metrics: [
    { name: "first-token", unit: "ms", better: "lower" },
    { name: "resident", unit: "of the file", better: "lower" },
    { name: "resident-added", unit: "of the file", better: "lower" },
  ],
  floors: [
    { metric: "first-token", atMost: 300 },
    { metric: "resident", atMost: 1.35 },
    { metric: "resident-added", atMost: 1.35 },
  ],
  cases: (quick) => [{ id: "cpu-load-16", task: { kind: "load", rows: 16 }, trials: quick ? 3 : 5 }],
};
