// SPDX-License-Identifier: Apache-2.0
// How much of what the machine can do is made use of: by decoding, beside the bandwidth that was measured between its
// turns, and by single kernels, as the suite ops measured them.
import type { OpsReport } from "../ops/report.js";
import type { Panel } from "../quality/page/bars.js";
import type { Result } from "../runner/report.js";

const bar = (name: string, share: number) => {
  const value = 100 * share;
  return { name, value: { mean: value, low: value, high: value } };
};

export function decodeShares(results: readonly Result[]): Panel[] {
  const bandwidths = results.filter(({ metric }) => metric === "bandwidth");
  const bars = bandwidths.flatMap(({ workload, subject, median }) => {
    const limit = bandwidths.find((one) => one.workload === workload && one.subject === "limits");
    if (subject !== "baton" || limit === undefined) return [];
    return [bar(workload.replace("cpu-decode-", ""), median / limit.median)];
  });
  return bars.length === 0
    ? []
    : [{ title: "Decode: weights and KV read, percent of the measured read bandwidth", bars }];
}

/** Kernels of a forward, for one row and for 512; the best of a name where it was measured on several sizes. */
export function kernelShares({ kernels }: OpsReport): Panel[] {
  return [1, 512].flatMap((rows): Panel[] => {
    const best = new Map<string, number>();
    for (const { op, type, share, section, rows: count } of kernels) {
      if (count !== rows || section.startsWith("d")) continue;
      const name = `${op} ${type}`.trim();
      best.set(name, Math.max(best.get(name) ?? 0, share));
    }
    const bars = [...best].map(([name, share]) => bar(name, share));
    const title = `Kernels, ${rows === 1 ? "one row" : `${rows} rows`}: percent of the nearest limit`;
    return bars.length === 0 ? [] : [{ title, bars }];
  });
}

export function limitRows({ limits }: OpsReport): string[][] {
  return limits.map(({ name, unit, rate }) => [
    name,
    `${(rate.median / 1e9).toFixed(1)} G${unit}`,
    `${(rate.min / 1e9).toFixed(1)} to ${(rate.max / 1e9).toFixed(1)}`,
  ]);
}
