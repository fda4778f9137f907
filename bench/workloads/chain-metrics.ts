// SPDX-License-Identifier: Apache-2.0
// What is measured of whole chains: end to end, from one stage's end to the next one's first token, rows computed.
import type { Metric } from "../contract.js";

export const chainMetrics: readonly Metric[] = [
  { name: "time", unit: "ms", better: "lower" },
  { name: "hand-over", unit: "ms", better: "lower" },
  { name: "rows", unit: "rows", better: "lower" },
];
