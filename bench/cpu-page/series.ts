// SPDX-License-Identifier: Apache-2.0
// Results as lines: which case is which point is said by its id (workloads/cpu).
import type { LinePanel, Point, Series } from "../page/lines.js";
import type { Result } from "../runner/report.js";

interface Placed {
  panel: string;
  at: number;
  result: Result;
}

function panelsOf(placed: readonly Placed[]): LinePanel[] {
  const titles = [...new Set(placed.map(({ panel }) => panel))];
  return titles.map((title) => {
    const own = placed.filter(({ panel }) => panel === title);
    const subjects = [...new Set(own.map(({ result }) => result.subject))];
    const series = subjects.map((name): Series => {
      const points = own.flatMap(({ at, result }): Point[] => {
        const { median, min, max } = result;
        return result.subject === name ? [{ at, median, min, max }] : [];
      });
      return { name, points: points.sort((a, b) => a.at - b.at) };
    });
    return { title, series };
  });
}

/** Cases "<workload>-<model>-<count>": a panel per model. */
export function againstCount(results: readonly Result[], workload: string, metric: string): LinePanel[] {
  const id = new RegExp(`^${workload}-(.+)-(\\d+)$`);
  return panelsOf(
    results.flatMap((result): Placed[] => {
      const [, panel, count] = id.exec(result.workload) ?? [];
      if (panel === undefined || result.metric !== metric) return [];
      return [{ panel, at: Number(count), result }];
    }),
  );
}

/** Metrics "decode-<sequences>" of the cases "<workload>-<context>": a panel per context. */
export function againstBatch(results: readonly Result[], workload: string): LinePanel[] {
  return panelsOf(
    results.flatMap((result): Placed[] => {
      const [, panel] = new RegExp(`^${workload}-(.+)$`).exec(result.workload) ?? [];
      const [, count] = /^decode-(\d+)$/.exec(result.metric) ?? [];
      return panel === undefined || count === undefined ? [] : [{ panel, at: Number(count), result }];
    }),
  );
}
