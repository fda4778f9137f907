// SPDX-License-Identifier: Apache-2.0
// What a run on a GPU left: lines of JSON from the benchmark of kernels, the peers and the script, and reports of the suite
// gpu. A case that was measured before and after its peers is one figure. Lines of --tiny runs are no figures.
import type { Report } from "../runner/report.js";
import { median } from "../runner/statistics.js";

export interface Figure {
  case: string;
  subject: string;
  /** "time", "bandwidth" and "arithmetic" of a kernel; of a report its own. */
  metric: string;
  unit: string;
  median: number;
  min: number;
  max: number;
  /** How it was timed; of kernels. */
  timing?: string;
}

/** A case, or a subject of one, that was tried and has no figure. */
export interface Failure {
  case: string;
  subject: string;
  why: string;
}

/** Something that the script says of a phase. */
export interface Note {
  suite: string;
  state: string;
  words: string;
}

export interface GpuRun {
  /** Name of the device; absent: there was none. */
  device: string | undefined;
  figures: Figure[];
  failures: Failure[];
  notes: Note[];
}

type Line = Record<string, unknown>;

/** A run that was killed may have left half a line at the end. */
function parseLines(text: string): Line[] {
  return text.split("\n").flatMap((line) => {
    if (line.trim() === "") return [];
    try {
      return [JSON.parse(line) as Line];
    } catch {
      return [];
    }
  });
}

const numberOf = (line: Line, key: string): number => {
  const value = line[key];
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
};

/** All samples of one case and subject. */
function figuresOf(lines: readonly Line[]): Figure[] {
  const [first] = lines as [Line, ...Line[]];
  const name = { case: String(first.case), subject: String(first.subject) };
  const timing = String(first.timing ?? "");
  const spread = {
    median: median(lines.map((line) => numberOf(line, "us"))),
    min: Math.min(...lines.map((line) => numberOf(line, "min"))),
    max: Math.max(...lines.map((line) => numberOf(line, "max"))),
  };
  /** In `each` of a second, of what takes microseconds. */
  const rate = (metric: string, unit: string, amount: number): Figure[] =>
    amount > 0
      ? [
          {
            ...{ ...name, metric, unit, timing },
            median: amount / spread.median / 1e6,
            min: amount / spread.max / 1e6,
            max: amount / spread.min / 1e6,
          },
        ]
      : [];
  return [
    { ...name, metric: "time", unit: "us", timing, ...spread },
    ...rate("bandwidth", "TB/s", numberOf(first, "bytes")),
    ...rate("arithmetic", "TFLOP/s", numberOf(first, "flops")),
  ];
}

export function readRun(text: string, reports: readonly Report[] = []): GpuRun {
  const lines = parseLines(text);
  const device = lines.find((line) => line.suite === "machine" && typeof line.device === "string")?.device;
  const kernels = lines.filter(
    (line) => line.suite === "kernels" && line.tiny !== true && line.case !== undefined,
  );
  const measured = new Map<string, Line[]>();
  for (const line of kernels) {
    if (line.failed !== undefined || numberOf(line, "us") <= 0) continue;
    const key = `${line.case}\n${line.subject}`;
    measured.set(key, [...(measured.get(key) ?? []), line]);
  }
  const failures = kernels.flatMap((line) =>
    line.failed === undefined
      ? []
      : [{ case: String(line.case), subject: String(line.subject), why: String(line.failed) }],
  );
  const notes = lines.flatMap((line) =>
    line.state === undefined
      ? []
      : [{ suite: String(line.suite), state: String(line.state), words: String(line.words) }],
  );
  const figures = [...measured.values()].flatMap(figuresOf);
  for (const report of reports) {
    for (const { workload, subject, metric, unit, median, min, max } of report.results)
      figures.push({ case: workload, subject, metric, unit, median, min, max });
    for (const { workload, subject, why } of report.unmeasured ?? [])
      failures.push({ case: workload, subject: subject ?? "all", why });
  }
  return { device: typeof device === "string" ? device : undefined, figures, failures, notes };
}
