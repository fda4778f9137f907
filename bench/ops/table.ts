// SPDX-License-Identifier: Apache-2.0
// The report of kernels for a reader.
import { columns, figure, machineLines } from "../runner/table.js";
import type { OpsKernel, OpsLimit, OpsReport } from "./report.js";

const giga = (value: number) => figure(value / 1e9);

function limitRow({ name, unit, rate }: OpsLimit): string[] {
  return [name, `G${unit}`, giga(rate.median), `${giga(rate.min)}-${giga(rate.max)}`];
}

function kernelRow(one: OpsKernel & { disturbed: boolean }): string[] {
  const { median, min, max } = one.milliseconds;
  const perSecond = 1e-3 * median;
  return [
    one.op,
    one.type,
    one.detail,
    one.isa,
    String(one.rows),
    figure(median),
    `${figure(min)}-${figure(max)}`,
    one.flops > 0 ? giga(one.flops / perSecond) : "",
    giga(one.bytes / perSecond),
    `${(100 * one.share).toFixed(0)} %`,
    one.bound,
    one.disturbed ? "disturbed" : "",
  ];
}

export function opsLines(report: OpsReport): string[] {
  const { settings, commit, limits, kernels } = report;
  const head = ["kernel", "type", "of", "from", "rows", "ms", "", "GFLOP/s", "GB/s", "of limit", "by", ""];
  return [
    ...machineLines(report.machine),
    `${settings.isa}, ${settings.threads} threads, median of ${settings.repeat}; commit ${commit}`,
    "",
    ...columns([["limit", "unit", "median", "span"], ...limits.map(limitRow)], 2),
    "",
    ...columns([head, ...kernels.map(kernelRow)], 4),
  ];
}
