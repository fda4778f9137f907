// SPDX-License-Identifier: Apache-2.0
// `npm run bench`: same file, same threads, same machine, one process a trial; figures, ratios and floors.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Case, Subject, TrialSettings, Workload } from "../contract.js";
import { modelFile } from "../models/model-files.js";
import { shapeNames, weightTypeNames } from "../models/shapes.js";
import { opsSuite, runOps } from "../ops/suite.js";
import { opsLines } from "../ops/table.js";
import { qualitySuite, runQuality } from "../quality/suite.js";
import { subjects } from "../subjects/index.js";
import { workloadOf, workloads } from "../workloads/index.js";
import { CaseFiles, whyMissing } from "./case-files.js";
import { checkFloors } from "./floors.js";
import { describeMachine, machineKind } from "./machine.js";
import { type BenchOptions, readOptions, UsageError, usage } from "./options.js";
import { packageUrl, rivals, root } from "./paths.js";
import { profiledKinds, profileOf } from "./profile.js";
import { checkReport, type Report } from "./report.js";
import { runCase, takes } from "./schedule.js";
import { floorLines, machineLines, profileLines, resultLines } from "./table.js";
import { runTrial } from "./trial-process.js";
import { shortened } from "./ways.js";

const own = "baton";
const say = (line: string) => process.stderr.write(`bench: ${line}\n`);

const anyChoice = { shapes: shapeNames, types: weightTypeNames };
const allCases = [true, false].flatMap((quick) => workloads.flatMap((one) => one.cases(quick, anyChoice)));
const rivalSubjects = subjects.filter((one) => one.rival);
const known = {
  suites: [...new Set(workloads.map((one) => one.suite)), qualitySuite.name, opsSuite.name],
  devices: ["cpu", "cuda"],
  rivals: [
    ...new Set(
      rivalSubjects.flatMap(({ name, family }) => [name, ...(family === undefined ? [] : [family])]),
    ),
  ],
  cases: [
    ...new Set([...workloads.map((one) => one.name), ...allCases.map((one) => one.id)]),
    ...qualitySuite.names,
  ],
};

function commit(): string {
  const git = (...args: string[]) => spawnSync("git", args, { cwd: root, encoding: "utf8" });
  const head = git("rev-parse", "HEAD");
  if (head.status !== 0) {
    const carried = path.join(root, "commit"); // of bench/gpu/bundle.mjs
    return existsSync(carried) ? readFileSync(carried, "utf8").trim() : "unknown";
  }
  const changed = git("status", "--porcelain", "--untracked-files=no").stdout.trim() !== "";
  return head.stdout.trim() + (changed ? "+" : "");
}

/** Installs and compiles what the rivals need, where it is missing. */
function prepareRivals(taking: readonly Subject[]): void {
  for (const setup of new Set(taking.flatMap((one) => one.setup ?? []))) {
    const done = spawnSync(process.execPath, [path.join(rivals, setup)], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    if (done.status === 0) continue;
    throw new UsageError("the rivals could not be set up (see above); --rivals none runs without them");
  }
}

async function resolvedModel(name: string): Promise<string> {
  const { resolveModel } = (await import(packageUrl)) as typeof import("../../src/index.js");
  return (await resolveModel(name)).path;
}

/** The run's model; where every case brings its own, the first of those, so that nothing is fetched that nobody runs. */
async function settingsModel(options: BenchOptions, wanted: readonly Wanted[]): Promise<string> {
  const models = wanted.flatMap(({ one }) => one.model ?? []);
  const [first] = models;
  if (first === undefined || models.length < wanted.length) return resolvedModel(options.model);
  return modelFile(options.models, first, say);
}

interface Wanted {
  workload: Workload;
  one: Case;
}

function wantedCases({ suite, quick, only, choice }: BenchOptions): Wanted[] {
  const inSuite = workloads.filter((workload) => workload.suite === suite);
  const all = inSuite.flatMap((workload) => workload.cases(quick, choice).map((one) => ({ workload, one })));
  return all.filter(
    ({ workload, one }) => only.length === 0 || only.includes(one.id) || only.includes(workload.name),
  );
}

/** Those that can do something of it. On a GPU ours alone: rivals were built for the CPU, its peers are bench/gpu/peers.py. */
function subjectsFor(wanted: readonly Wanted[], { rivals, device }: BenchOptions): Subject[] {
  const isNamed = ({ name, family }: Subject) => rivals.includes(name) || rivals.includes(family ?? name);
  const allowed = subjects.filter((one) => !one.rival || (device === "cpu" && isNamed(one)));
  return allowed.filter((subject) => wanted.some(({ one }) => takes(subject, one)));
}

/** Ctrl-C and SIGTERM end the run with what it has measured so far. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  return stop.signal;
}

function emptyReport(options: BenchOptions, settings: TrialSettings): Report {
  const { model, threads, device } = settings;
  const isa = process.env.BATON_ISA;
  const { quick, suite } = options;
  return {
    machine: describeMachine(),
    date: new Date().toISOString(),
    commit: commit(),
    settings: { model: path.basename(model), threads, device, quick, suite, ...(isa ? { isa } : {}) },
    subjects: {},
    results: [],
    tried: [],
    unmeasured: [],
    profiles: [],
  };
}

/** One more trial of ours, traced, of every case that missed a target. */
async function explainMisses(
  report: Report,
  wanted: readonly Wanted[],
  { caseFiles, signal }: { caseFiles: CaseFiles; signal: AbortSignal },
): Promise<void> {
  const kind = machineKind(report.machine, report.settings.isa);
  const checks = checkFloors(report.results, workloadOf, own, kind);
  const missed = new Set(checks.flatMap((one) => (one.outcome === "miss" ? [one.workload] : [])));
  for (const { one } of wanted) {
    if (signal.aborted || !missed.has(one.id) || !profiledKinds.includes(one.task.kind)) continue;
    const settings = await caseFiles.settingsFor(one);
    const file = caseFiles.traceFile(one.id);
    const task = shortened(one.task);
    const env = { ...process.env, BATON_TRACE: file };
    try {
      await runTrial({ subject: own, settings, task }, signal, env);
      report.profiles?.push({ workload: one.id, ops: profileOf(readFileSync(file, "utf8"), task) });
      say(`${one.id} missed a target: traced`);
    } catch (error) {
      say(`${one.id} could not be traced: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

/** A device that cannot be had is no end without a report: every case says why it has no figures. */
function withoutDevice(
  report: Report,
  options: BenchOptions,
  wanted: readonly Wanted[],
  error: unknown,
): Report {
  const [why = ""] = (error instanceof Error ? error.message : String(error)).split("\n", 1);
  say(why);
  for (const { one } of wanted) report.unmeasured?.push({ workload: one.id, subject: own, why });
  write(report, options);
  return report;
}

async function measureAll(
  options: BenchOptions,
  wanted: readonly Wanted[],
  taking: readonly Subject[],
  settings: TrialSettings,
  signal: AbortSignal,
) {
  const report = emptyReport(options, settings);
  try {
    for (const { name } of taking)
      report.subjects[name] = (await runTrial({ subject: name, settings, describe: true })) as string;
  } catch (error) {
    if (settings.device === "cpu") throw error;
    return withoutDevice(report, options, wanted, error);
  }
  const { patienceMs, data, models } = options;
  const surroundings = { cores: os.availableParallelism(), patienceMs, progress: say, signal };
  const caseFiles = new CaseFiles({ settings, data, models, tell: say });
  try {
    for (const { workload, one } of wanted) {
      if (signal.aborted) break;
      const own = await caseFiles.settingsFor(one).catch((error: unknown) => {
        const why = whyMissing(error);
        say(`${one.id} is left out: ${why}`);
        report.unmeasured?.push({ workload: one.id, why });
        write(report, options);
      });
      if (own === undefined) continue;
      const began = performance.now();
      const { results, tried, unmeasured } = await runCase(workload, one, taking, own, surroundings);
      say(`${one.id} took ${((performance.now() - began) / 1000).toFixed(0)} s`);
      report.results.push(...results);
      report.tried?.push(...tried);
      report.unmeasured?.push(...unmeasured);
      write(report, options);
    }
    await explainMisses(report, wanted, { caseFiles, signal });
  } finally {
    caseFiles.remove();
  }
  write(report, options);
  return checkReport(report);
}

/** After every case: a run that is stopped has not measured for nothing. */
function write(report: Report, { json }: BenchOptions): void {
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(checkReport(report), null, 2)}\n`);
}

function print(report: Report): void {
  const { model, threads, device, isa } = report.settings;
  const kind = machineKind(report.machine, isa);
  const floors = floorLines(checkFloors(report.results, workloadOf, own, kind));
  const missing = (report.unmeasured ?? []).map(
    ({ workload, subject, why }) => `${[workload, subject].filter(Boolean).join(" ")}: ${why}`,
  );
  const lines = [
    ...machineLines(report.machine),
    `${model}, ${threads} threads, ${device}; commit ${report.commit}`,
    ...Object.entries(report.subjects).map(([name, description]) => `${name}: ${description}`),
    "",
    ...resultLines(report, own, workloads),
    ...(floors.length > 0 ? ["", `floors (${kind})`, ...floors] : []),
    ...(missing.length > 0 ? ["", "not measured", ...missing] : []),
    ...profileLines(report.profiles ?? []),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** No trials and no rivals: training runs, written down one by one. */
async function trainAndScore(options: BenchOptions): Promise<number> {
  const signal = stopSignal();
  const model = await resolvedModel(options.model);
  const lines = await runQuality({ options, model, commit: commit(), signal, say });
  process.stdout.write(`${lines.join("\n")}\n`);
  return signal.aborted ? 130 : 0;
}

/** Single kernels: neither a model nor rivals. */
async function measureKernels(options: BenchOptions): Promise<number> {
  const signal = stopSignal();
  const report = await runOps({ options, commit: commit(), signal, say });
  if (report !== null) process.stdout.write(`${opsLines(report).join("\n")}\n`);
  return signal.aborted ? 130 : 0;
}

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2), known);
  if (options.help) {
    process.stdout.write(`${usage}\n`);
    return 0;
  }
  if (options.suite === opsSuite.name) return measureKernels(options);
  if (options.suite === qualitySuite.name) return trainAndScore(options);
  const wanted = wantedCases(options);
  const taking = subjectsFor(wanted, options);
  prepareRivals(taking);
  const model = await settingsModel(options, wanted);
  const { threads, device, quick } = options;
  const settings = { model, threads, device, quick };
  const signal = stopSignal();
  const report = await measureAll(options, wanted, taking, settings, signal);
  print(report);
  return signal.aborted ? 130 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  say(`${error.message}\n${usage}`);
  process.exitCode = 2;
}
