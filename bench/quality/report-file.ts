// SPDX-License-Identifier: Apache-2.0
// The suite's JSON file: written whole after every run, continued by later sittings. What is in it is not measured again,
// so a file of another model is refused instead of mixed; of machines each run names its own, because seconds alone depend
// on them.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Machine } from "../runner/machine.js";
import { UsageError } from "../runner/options.js";
import type { QualityReport, QualityRun } from "./contract.js";

export interface Surroundings {
  machine: Machine;
  model: string;
  threads: number;
}

/** "AMD EPYC (25.1.1), fma avx f16c avx2" */
export function machineName({ cpu, cpuId, isa }: Machine): string {
  return `${cpu} (${cpuId}), ${isa.join(" ")}`;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function isRun(value: unknown): value is QualityRun {
  if (!isObject(value)) return false;
  const { case: id, variant, seed, machine, evaluations } = value;
  return (
    typeof id === "string" &&
    typeof variant === "string" &&
    typeof machine === "string" &&
    Number.isSafeInteger(seed) &&
    Array.isArray(evaluations)
  );
}

/** Throws UsageError naming what is wrong with it. */
export function parseReport(text: string, path: string): QualityReport {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${path} is not JSON (${(error as Error).message}); name another --json`);
  }
  const foreign = new UsageError(`${path} is no file of the quality suite; name another --json`);
  if (!isObject(value) || value.suite !== "quality" || !Array.isArray(value.runs)) throw foreign;
  if (!isObject(value.facts) || !isObject(value.machines)) throw foreign;
  const bad = value.runs.findIndex((one) => !isRun(one));
  if (bad >= 0) throw new UsageError(`${path}: runs[${bad}] is no run of the quality suite`);
  return value as unknown as QualityReport;
}

/** The file's report, or an empty one. Throws UsageError for one that cannot be gone on with here. */
export function openReport(path: string, here: Surroundings): QualityReport {
  const { machine, model, threads } = here;
  const machines = { [machineName(machine)]: machine };
  if (!existsSync(path)) return { suite: "quality", machines, model, threads, facts: {}, runs: [] };
  const report = parseReport(readFileSync(path, "utf8"), path);
  if (report.model !== model)
    throw new UsageError(`${path} was measured on ${report.model}, this is ${model}; name another --json`);
  return { ...report, machines: { ...report.machines, ...machines } };
}

/** A reader, and a run that is killed, find the file of before or the new one. */
export function writeReport(path: string, report: QualityReport): void {
  const part = `${path}.part`;
  writeFileSync(part, `${JSON.stringify(report, null, 1)}\n`);
  renameSync(part, path);
}

export function runOf(
  report: QualityReport,
  id: string,
  variant: string,
  seed: number,
): QualityRun | undefined {
  return report.runs.find((one) => one.case === id && one.variant === variant && one.seed === seed);
}

/** Of all seeds, in their order. */
export function runsOf(report: QualityReport, id: string, variant: string): QualityRun[] {
  const all = report.runs.filter((one) => one.case === id && one.variant === variant);
  return all.sort((a, b) => a.seed - b.seed);
}
