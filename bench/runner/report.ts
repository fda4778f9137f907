// SPDX-License-Identifier: Apache-2.0
// The outcome of a run as JSON. Files of earlier runs are read back for comparison, so what is written is checked.
import type { Machine } from "./machine.js";

export interface Result {
  /** Id of the case, e.g. "prefill-512". */
  workload: string;
  subject: string;
  metric: string;
  unit: string;
  median: number;
  min: number;
  max: number;
  /** Trials behind the figures. */
  n: number;
  /** Trials during which something else used the machine; left out of the figures unless all were. */
  disturbed: number;
  /** Each trial in the order of the turns, with the cores' worth of time that others took of the machine meanwhile. */
  turns?: Turn[];
  /** How the subject was set up, where there was a choice. */
  way?: string;
}

export interface Turn {
  value: number;
  others: number;
}

/** A way to set a subject up that was tried before a case. */
export interface Tried {
  workload: string;
  subject: string;
  way: string;
  metric: string;
  value: number;
}

/** An operation's part of a case's time. */
export interface ProfiledOp {
  op: string;
  /** Of the time of its turns. */
  share: number;
  /** Of what the machine can do: the nearer limit, weighed by time. */
  ofLimit: number;
}

/** Where the time of a case goes that missed a target. */
export interface Profile {
  workload: string;
  ops: ProfiledOp[];
}

/** A case, or a subject of one, that has no figures. */
export interface Unmeasured {
  workload: string;
  subject?: string;
  why: string;
}

export interface Report {
  machine: Machine;
  /** ISO 8601, UTC. */
  date: string;
  /** Commit of the checkout, with "+" when files differ from it. */
  commit: string;
  /** `isa`: what BATON_ISA capped kernels to. */
  settings: { model: string; threads: number; device: string; quick: boolean; suite?: string; isa?: string };
  /** Subject name -> version and settings. */
  subjects: Record<string, string>;
  results: Result[];
  tried?: Tried[];
  unmeasured?: Unmeasured[];
  profiles?: Profile[];
}

type Fields = Record<string, unknown>;

function fields(value: unknown, where: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new TypeError(`${where} must be an object`);
}

function expectFields(value: unknown, where: string, types: Record<string, "string" | "number" | "boolean">) {
  const given = fields(value, where);
  for (const [name, type] of Object.entries(types)) {
    const ok = typeof given[name] === type && !(type === "number" && !Number.isFinite(given[name]));
    if (!ok) throw new TypeError(`${where}.${name} is ${String(given[name])}, which must be a ${type}`);
  }
  return given;
}

function expectResult(value: unknown, index: number) {
  const where = `results[${index}]`;
  const figures = {
    median: "number",
    min: "number",
    max: "number",
    n: "number",
    disturbed: "number",
  } as const;
  const names = { workload: "string", subject: "string", metric: "string", unit: "string" } as const;
  const result = expectFields(value, where, { ...names, ...figures }) as unknown as Result;
  if (!(result.min <= result.median && result.median <= result.max)) {
    throw new TypeError(`${where}: median ${result.median} is not between ${result.min} and ${result.max}`);
  }
  if (!Number.isInteger(result.n) || result.n < 1) throw new TypeError(`${where}.n must be at least 1`);
  for (const [turn, one] of (result.turns ?? []).entries())
    expectFields(one, `${where}.turns[${turn}]`, { value: "number", others: "number" });
}

/** The value as a Report; throws TypeError naming the first field that is not as described. */
export function checkReport(value: unknown): Report {
  const report = expectFields(value, "report", { date: "string", commit: "string" });
  if (Number.isNaN(Date.parse(report.date as string))) throw new TypeError(`date ${report.date} is no date`);
  expectFields(report.machine, "machine", {
    cpu: "string",
    cores: "number",
    kernel: "string",
    node: "string",
  });
  expectFields(report.settings, "settings", {
    model: "string",
    threads: "number",
    device: "string",
    quick: "boolean",
  });
  fields(report.subjects, "subjects");
  if (!Array.isArray(report.results)) throw new TypeError("results must be an array");
  report.results.forEach(expectResult);
  const words = { workload: "string", way: "string", metric: "string", value: "number" } as const;
  for (const [at, one] of ((report.tried ?? []) as unknown[]).entries())
    expectFields(one, `tried[${at}]`, words);
  for (const [at, { ops }] of ((report.profiles ?? []) as Profile[]).entries())
    for (const one of ops)
      expectFields(one, `profiles[${at}].ops`, { op: "string", share: "number", ofLimit: "number" });
  for (const [at, one] of ((report.unmeasured ?? []) as unknown[]).entries())
    expectFields(one, `unmeasured[${at}]`, { workload: "string", why: "string" });
  return value as Report;
}
