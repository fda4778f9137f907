// SPDX-License-Identifier: Apache-2.0
// Several sittings of the suite as one report: a machine may be quiet for a few minutes at a time only. Ratios are made
// within cases, and a case is of one sitting: of one that was measured twice the later sitting counts.
import type { Report, Result, Tried } from "../runner/report.js";

const sameIn = (report: Report) => {
  const { model, threads, device, isa = "" } = report.settings;
  const { cpu, cpuId, cores } = report.machine;
  return { model, threads, device, isa, cpu, cpuId, cores };
};

/** Throws TypeError naming what differs and must not. */
export function mergeReports(reports: readonly Report[]): Report {
  const sorted = [...reports].sort((a, b) => Date.parse(a.date) - Date.parse(b.date));
  const [first, ...others] = sorted;
  if (first === undefined) throw new TypeError("there is no report of the suite cpu");
  for (const other of others) {
    const [here, there] = [sameIn(first), sameIn(other)];
    for (const [name, value] of Object.entries(here)) {
      const also = there[name as keyof typeof there];
      if (value !== also) throw new TypeError(`${name} is ${value} in one sitting and ${also} in another`);
    }
  }
  const last = new Map<string, Report>();
  for (const report of sorted) {
    const cases = [...report.results, ...(report.unmeasured ?? [])];
    for (const { workload } of cases) last.set(workload, report);
  }
  const kept = <T extends Pick<Result | Tried, "workload">>(of: (report: Report) => readonly T[]): T[] =>
    sorted.flatMap((report) => of(report).filter(({ workload }) => last.get(workload) === report));
  return {
    ...first,
    commit: [...new Set(sorted.map(({ commit }) => commit.slice(0, 12)))].join(", "),
    settings: { ...first.settings, quick: sorted.some(({ settings }) => settings.quick) },
    subjects: Object.assign({}, ...sorted.map(({ subjects }) => subjects)),
    results: kept((report) => report.results),
    tried: kept((report) => report.tried ?? []),
    unmeasured: kept((report) => report.unmeasured ?? []),
    profiles: kept((report) => report.profiles ?? []),
  };
}
