// SPDX-License-Identifier: Apache-2.0
// Tables of a run on a GPU, for its end and for docs/gpu.md.
import { table } from "../page/markdown.js";
import type { Figure, GpuRun } from "./lines.js";
import { ceiling, judge, type Target, type Verdict } from "./targets.js";

const digits = (value: number) => (value >= 1000 ? value.toFixed(0) : value.toPrecision(3));
const share = (value: number) => `${(100 * value).toFixed(0)} %`;

function limitOf({ least, most, unit, device }: Target): string {
  const limit = least === undefined ? `<= ${most}` : `>= ${unit === "of copy" ? share(least) : least}`;
  return `${limit} ${unit}${device === undefined ? "" : ` (${device})`}`;
}

function measuredOf({ value, target }: Verdict): string {
  if (value === undefined) return "";
  return target.unit === "of copy" ? share(value) : `${digits(value)} ${target.unit}`;
}

export function targetTable(run: GpuRun): string {
  const rows = judge(run).map((one) => [
    one.target.what,
    limitOf(one.target),
    measuredOf(one),
    one.outcome + (one.why === undefined ? "" : `: ${one.why}`),
  ]);
  return table(["what", "target", "measured", "outcome"], rows);
}

/** A row for each case and subject with its rate, and what part of the ceiling that is. */
export function figureTable(run: GpuRun): string {
  const [copy, gemm] = [ceiling(run, "copy"), ceiling(run, "gemm")];
  const of = (ours: Figure | undefined, limit: Figure | undefined) =>
    ours === undefined || limit === undefined ? "" : share(ours.median / limit.median);
  const keys = new Map(run.figures.map((one) => [`${one.case}\n${one.subject}`, one]));
  const rows = [...keys.values()].flatMap(({ case: name, subject }) => {
    const of1 = run.figures.filter((one) => one.case === name && one.subject === subject);
    const metric = (wanted: string) => of1.find((one) => one.metric === wanted && one.timing !== undefined);
    const [time, bytes, flops] = [metric("time"), metric("bandwidth"), metric("arithmetic")];
    if (time === undefined) {
      return of1.map((one) => [
        ...[name, subject, `${one.metric}: ${digits(one.median)} ${one.unit}`],
        ...[`${digits(one.min)} to ${digits(one.max)}`, "", "", "", ""],
      ]);
    }
    return [
      [
        ...[name, subject, `${digits(time.median)} us`, `${digits(time.min)} to ${digits(time.max)}`],
        ...[bytes === undefined ? "" : digits(bytes.median), of(bytes, copy)],
        ...[flops === undefined ? "" : digits(flops.median), of(flops, gemm)],
      ],
    ];
  });
  if (rows.length === 0) return "";
  return table(["case", "subject", "median", "span", "TB/s", "of copy", "TFLOP/s", "of gemm"], rows);
}

export function failureTable({ failures }: GpuRun): string {
  if (failures.length === 0) return "";
  return table(
    ["case", "subject", "why"],
    failures.map((one) => [one.case, one.subject, one.why]),
  );
}

export function noteTable({ notes }: GpuRun): string {
  if (notes.length === 0) return "";
  return table(
    ["phase", "state", ""],
    notes.map((one) => [one.suite, one.state, one.words]),
  );
}
