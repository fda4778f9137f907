// SPDX-License-Identifier: Apache-2.0
// What the server adds to the bare API: the same text continued by a cache handle and by POST /v1/completions over a
// loopback address, in turns, in one process; the client is a process of its own.
//
// request-overhead: wall time of an answer of one token at the client, less that of the bare call, each less the engine's
// own time. token-overhead: the same of a stream, for each of its tokens. token-cpu: CPU time of the server's JavaScript
// thread for each token, less that of the bare call's; where cores are few it is taken from the engine. The same with -plain is
// of a server of ten lines on node:http that writes what the bare call gives it: what HTTP itself takes on the machine.
import type { Case, Workload } from "../contract.js";

export const server: Workload = {
  name: "server",
  suite: "server",
  metrics: [
    { name: "request-overhead", unit: "ms", better: "lower" },
    { name: "request-plain", unit: "ms", better: "lower" },
    { name: "token-overhead", unit: "us/tok", better: "lower" },
    { name: "token-plain", unit: "us/tok", better: "lower" },
    { name: "token-cpu", unit: "us/tok", better: "lower" },
    { name: "token-cpu-plain", unit: "us/tok", better: "lower" },
  ],
  floors: [
    { metric: "request-overhead", atMost: 1 },
    { metric: "token-overhead", atMost: 60 },
  ],
  cases: (quick) =>
    [1, 8].map(
      (streams): Case => ({
        id: `server-${streams}x64`,
        task: { kind: "server", streams, tokens: 64, repetitions: quick ? 3 : 6 },
        trials: quick ? 1 : 3,
      }),
    ),
};
