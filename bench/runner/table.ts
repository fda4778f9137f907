// SPDX-License-Identifier: Apache-2.0
// The report for a reader: one line per case, metric and subject, ratios from our side (above 1 is better).
import type { Workload } from "../contract.js";
import type { FloorCheck } from "./floors.js";
import type { Machine } from "./machine.js";
import type { Profile, Report, Result } from "./report.js";
import { timesBetter } from "./statistics.js";

/** Three significant digits, no exponent. */
export function figure(value: number): string {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 4));
}

/** Columns padded to their widest cell; the first two left-aligned, figures right-aligned. */
export function columns(rows: readonly (readonly string[])[], leftAligned = 3): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return rows.map((row) => {
    const cells = row.map((cell, i) =>
      i < leftAligned ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
    );
    return cells.join("  ").trimEnd();
  });
}

function ratio(result: Result, report: Report, subject: string, workloads: readonly Workload[]): string {
  if (result.subject === subject) return "";
  const own = report.results.find(
    (r) => r.workload === result.workload && r.metric === result.metric && r.subject === subject,
  );
  const metric = workloads.flatMap((one) => one.metrics).find((one) => one.name === result.metric);
  if (own === undefined || metric === undefined) return "";
  return `${figure(timesBetter(own.median, result.median, metric.better))}x`;
}

export function machineLines(machine: Machine): string[] {
  const id = machine.cpuId === "" ? "" : ` (${machine.cpuId})`;
  return [
    `${machine.cpu}${id}, ${machine.cores} cores, ${machine.isa.join(" ")}, ${machine.memoryGiB} GiB`,
    `${machine.kernel}, Node ${machine.node}`,
  ];
}

/** The table of results; the ratio column says how many times better `subject` is than the line's subject. */
export function resultLines(report: Report, subject: string, workloads: readonly Workload[]): string[] {
  const head = ["workload", "subject", "unit", "median", "min", "max", "n", `${subject} is`, ""];
  const rows = report.results.map((result) => [
    result.metric === result.workload.split("-")[0] ? result.workload : `${result.workload} ${result.metric}`,
    result.subject,
    result.unit,
    figure(result.median),
    figure(result.min),
    figure(result.max),
    String(result.n),
    ratio(result, report, subject, workloads),
    result.disturbed > 0 ? `${result.disturbed} disturbed` : "",
  ]);
  return columns([head, ...rows]);
}

export function floorLines(checks: readonly FloorCheck[]): string[] {
  const rows = checks.map((check) => [
    check.outcome,
    `${check.workload} ${check.metric}`,
    check.promise,
    check.figure === null ? "" : figure(check.figure),
    check.span === undefined ? "" : `${figure(check.span.min)}-${figure(check.span.max)}`,
    check.disturbed ? "disturbed" : "",
  ]);
  return rows.length === 0 ? [] : columns(rows);
}

/** What is told of a profile: operations that take less than a fiftieth are together "others". */
export function profileRows({ workload, ops }: Profile): string[][] {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const large = ops.filter(({ share }) => share >= 0.02);
  const others = ops.filter(({ share }) => share < 0.02).reduce((sum, { share }) => sum + share, 0);
  return [
    ...large.map(({ op, share, ofLimit }) => [
      workload,
      op,
      percent(share),
      ofLimit > 0 ? percent(ofLimit) : "",
    ]),
    [workload, "others", percent(others), ""],
  ];
}

export function profileLines(profiles: readonly Profile[]): string[] {
  if (profiles.length === 0) return [];
  const head = ["missed", "operation", "of the time", "of the limit"];
  return ["", ...columns([head, ...profiles.flatMap(profileRows)], 2)];
}
