// SPDX-License-Identifier: Apache-2.0
// What JavaScript adds per generated token when a chain is streamed (workloads/overhead.ts says what is counted).
import type { Workload } from "../../contract.js";
import { overhead } from "../overhead.js";

export const cpuOverhead: Workload = {
  ...overhead,
  name: "cpu-overhead",
  suite: "cpu",
  floors: [{ metric: "js-overhead", atMost: 50 }],
  cases: (quick, choice) => overhead.cases(quick, choice).map((one) => ({ ...one, id: `cpu-${one.id}` })),
};
