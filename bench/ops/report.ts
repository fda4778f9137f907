// SPDX-License-Identifier: Apache-2.0
// What the suite of kernels writes: the machine's limits and every kernel as a share of them. The program that measures
// (bench/native) prints one section at a time, with the limits as they were then; here sections become one report.
import type { Machine } from "../runner/machine.js";
import { median } from "../runner/statistics.js";

export interface Figures {
  median: number;
  min: number;
  max: number;
}

export interface OpsLimit {
  /** e.g. "AVX2 FMA", "read 256 MiB" (of all threads together). */
  name: string;
  unit: "FLOP/s" | "OP/s" | "B/s";
  /** Of the buffer that was read; 0: arithmetic. */
  bytes: number;
  rate: Figures;
}

export interface OpsKernel {
  op: string;
  /** Of weights or KV; empty: rows of float32. */
  type: string;
  rows: number;
  detail: string;
  /** Whose kernel it is. */
  isa: string;
  /** What one call moves at least and computes; of `flops`, `int8` and `bf16` are dot products of those. */
  bytes: number;
  flops: number;
  int8: number;
  /** Missing in reports made before there were any. */
  bf16?: number;
  milliseconds: Figures;
  bound: "memory" | "arithmetic";
  /** Of the nearer limit, the best that the section saw of it; more than 1 where rows come out of a nearer cache than their number of bytes says. */
  share: number;
}

/** What the program prints. */
export interface OpsSection {
  isa: string;
  threads: number;
  repeat: number;
  limits: OpsLimit[];
  kernels: OpsKernel[];
}

export interface OpsReport {
  machine: Machine;
  /** ISO 8601, UTC. */
  date: string;
  commit: string;
  settings: { threads: number; quick: boolean; repeat: number; isa: string };
  limits: OpsLimit[];
  /** `disturbed`: something else used the machine meanwhile. */
  kernels: (OpsKernel & { section: string; disturbed: boolean })[];
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function mustBe(ok: boolean, where: string, value: unknown, expected: string): void {
  if (!ok) throw new TypeError(`${where} is ${String(value)}, which must be ${expected}`);
}

function checkFigures(value: unknown, where: string): void {
  const { median, min, max } = (isObject(value) ? value : {}) as Partial<Figures>;
  const inOrder = typeof min === "number" && Number(min) <= Number(median) && Number(median) <= Number(max);
  mustBe(inOrder && min > 0 && Number.isFinite(max), where, JSON.stringify(value), "positive and in order");
}

function checkKernel(value: unknown, where: string): void {
  const one = (isObject(value) ? value : {}) as Partial<OpsKernel>;
  for (const field of ["op", "type", "detail", "isa", "bound"] as const) {
    mustBe(typeof one[field] === "string", `${where}.${field}`, one[field], "a string");
  }
  for (const field of ["rows", "bytes", "share"] as const) {
    const figure = one[field];
    mustBe(Number.isFinite(figure) && Number(figure) > 0, `${where}.${field}`, figure, "a positive number");
  }
  const { flops = Number.NaN, int8 = Number.NaN, bf16 = 0 } = one;
  mustBe(
    flops >= int8 + bf16 && int8 >= 0 && bf16 >= 0,
    `${where}.flops`,
    `${flops} of which ${int8} int8 and ${bf16} bf16`,
    "the sum of all kinds",
  );
  checkFigures(one.milliseconds, `${where}.milliseconds`);
}

/** What the program printed; throws TypeError naming the first field that is not as described. */
export function checkSection(value: unknown): OpsSection {
  mustBe(isObject(value), "the section", value, "an object");
  const { limits, kernels, isa } = value as unknown as OpsSection;
  mustBe(typeof isa === "string", "isa", isa, "a string");
  mustBe(Array.isArray(limits) && limits.length > 0, "limits", limits, "a list");
  mustBe(Array.isArray(kernels), "kernels", kernels, "a list");
  for (const [i, one] of limits.entries()) {
    mustBe(typeof one.name === "string" && one.name !== "", `limits[${i}].name`, one.name, "a name");
    mustBe(["FLOP/s", "OP/s", "B/s"].includes(one.unit), `limits[${i}].unit`, one.unit, "a rate");
    checkFigures(one.rate, `limits[${i}].rate`);
  }
  for (const [i, one] of kernels.entries()) checkKernel(one, `kernels[${i}]`);
  return value as unknown as OpsSection;
}

/** The value as a report; throws TypeError. */
export function checkOpsReport(value: unknown): OpsReport {
  mustBe(isObject(value), "the report", value, "an object");
  const report = value as unknown as OpsReport;
  mustBe(typeof report.machine?.cpu === "string", "machine.cpu", report.machine?.cpu, "a name");
  mustBe(!Number.isNaN(Date.parse(report.date)), "date", report.date, "a date");
  checkSection({ isa: report.settings?.isa, limits: report.limits, kernels: report.kernels });
  return report;
}

/** Limits of all sections: medians of medians, and the least and the most that was seen. */
export function mergeLimits(sections: readonly OpsSection[]): OpsLimit[] {
  const first = sections[0]?.limits ?? [];
  return first.map((limit) => {
    const rates = sections.flatMap(({ limits }) => limits.filter((one) => one.name === limit.name));
    const figures = rates.map(({ rate }) => rate);
    return {
      ...limit,
      rate: {
        median: median(figures.map((one) => one.median)),
        min: Math.min(...figures.map((one) => one.min)),
        max: Math.max(...figures.map((one) => one.max)),
      },
    };
  });
}
