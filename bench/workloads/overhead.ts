// SPDX-License-Identifier: Apache-2.0
// What JavaScript adds per generated token when a chain is streamed through the public API.
//
// js-overhead: wall time of the run minus the engine's own time for its jobs (queueing counts as ours). js-cpu: CPU
// time of the JavaScript thread. The first is what a user waits for, the second what is taken from the engine's threads
// where cores are few; neither alone would be honest.
import type { Workload } from "../contract.js";

export const overhead: Workload = {
  name: "overhead",
  suite: "engine",
  metrics: [
    { name: "js-overhead", unit: "us/tok", better: "lower" },
    { name: "js-cpu", unit: "us/tok", better: "lower" },
  ],
  floors: [{ metric: "js-overhead", atMost: 100 }],
  cases: (quick) => [
    { id: "overhead-128", task: { kind: "overhead", tokens: 128, repetitions: 3 }, trials: quick ? 2 : 5 },
  ],
};
