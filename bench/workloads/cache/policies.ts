// SPDX-License-Identifier: Apache-2.0
// A trace of mixed chains replayed under every eviction policy with room for a part of what comes again: which share of
// the rows is found, and the time that saves against a model that keeps nothing.
import type { Workload } from "../../contract.js";

export const cachePolicies: Workload = {
  name: "cache-policies",
  suite: "cache",
  metrics: [
    { name: "hits-lru", unit: "of the rows", better: "higher" },
    { name: "hits-cost", unit: "of the rows", better: "higher" },
    { name: "saved-lru", unit: "s", better: "higher" },
    { name: "saved-cost", unit: "s", better: "higher" },
    { name: "computed", unit: "s", better: "lower" },
  ],
  floors: [],
  cases: (quick) => [
    {
      id: "cache-policies",
      task: { kind: "policies", requests: quick ? 24 : 120 },
      trials: quick ? 1 : 3,
    },
  ],
};
