// SPDX-License-Identifier: Apache-2.0
// `npm run bench`: same file, same threads, same machine, one process a trial; figures, ratios and floors.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Case, Subject, TrialSettings, Workload } from "../contract.js";
import { opsSuite, runOps } from "../ops/suite.js";
import { opsLines } from "../ops/table.js";
import { qualitySuite, runQuality } from "../quality/suite.js";
import { subjects } from "../subjects/index.js";
import { workloadOf, workloads } from "../workloads/index.js";
import { ChainFiles } from "./chain-files.js";
import { checkFloors } from "./floors.js";
import { describeMachine } from "./machine.js";
import { type BenchOptions, readOptions, UsageError, usage } from "./options.js";
import { packageUrl, rivals, root } from "./paths.js";
import { checkReport, type Report } from "./report.js";
import { runCase } from "./schedule.js";
import { floorLines, machineLines, resultLines } from "./table.js";
import { runTrial } from "./trial-process.js";

const own = "baton";
const say = (line: string) => process.stderr.write(`bench: ${line}\n`);

const allCases = [true, false].flatMap((quick) => workloads.flatMap((one) => one.cases(quick)));
const known = {
  suites: [...new Set(workloads.map((one) => one.suite)), qualitySuite.name, opsSuite.name],
  devices: ["cpu"],
  rivals: subjects.filter((one) => one.rival).map((one) => one.name),
  cases: [
    ...new Set([...workloads.map((one) => one.name), ...allCases.map((one) => one.id)]),
    ...qualitySuite.names,
  ],
};

function commit(): string {
  const git = (...args: string[]) => spawnSync("git", args, { cwd: root, encoding: "utf8" });
  const head = git("rev-parse", "HEAD");
  if (head.status !== 0) return "unknown";
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

interface Wanted {
  workload: Workload;
  one: Case;
}

function wantedCases({ suite, quick, only }: BenchOptions): Wanted[] {
  const inSuite = workloads.filter((workload) => workload.suite === suite);
  const all = inSuite.flatMap((workload) => workload.cases(quick).map((one) => ({ workload, one })));
  return all.filter(
    ({ workload, one }) => only.length === 0 || only.includes(one.id) || only.includes(workload.name),
  );
}

/** Those that can do something of it. */
function subjectsFor(wanted: readonly Wanted[], { rivals }: BenchOptions): Subject[] {
  const kinds = wanted.map(({ one }) => one.task.kind);
  const allowed = subjects.filter((one) => !one.rival || rivals.includes(one.name));
  return allowed.filter((one) => one.kinds.some((kind) => kinds.includes(kind)));
}

/** Ctrl-C and SIGTERM end the run with what it has measured so far. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  return stop.signal;
}

async function measureAll(
  options: BenchOptions,
  wanted: readonly Wanted[],
  taking: readonly Subject[],
  settings: TrialSettings,
  signal: AbortSignal,
) {
  const report: Report = {
    machine: describeMachine(),
    date: new Date().toISOString(),
    commit: commit(),
    settings: {
      model: path.basename(settings.model),
      threads: settings.threads,
      device: settings.device,
      quick: options.quick,
    },
    subjects: {},
    results: [],
  };
  for (const { name } of taking) {
    report.subjects[name] = (await runTrial({ subject: name, settings, describe: true })) as string;
  }
  const { patienceMs } = options;
  const surroundings = { cores: os.availableParallelism(), patienceMs, progress: say, signal };
  const chainFiles = new ChainFiles(settings, options.data);
  try {
    for (const { workload, one } of wanted) {
      if (signal.aborted) break;
      const own = await chainFiles.settingsFor(one, say);
      if (own === null) continue;
      report.results.push(...(await runCase(workload, one, taking, own, surroundings)));
      write(report, options);
    }
  } finally {
    chainFiles.remove();
  }
  return checkReport(report);
}

/** After every case: a run that is stopped has not measured for nothing. */
function write(report: Report, { json }: BenchOptions): void {
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(checkReport(report), null, 2)}\n`);
}

function print(report: Report): void {
  const floors = floorLines(checkFloors(report.results, workloadOf, own));
  const { model, threads, device } = report.settings;
  const lines = [
    ...machineLines(report.machine),
    `${model}, ${threads} threads, ${device}; commit ${report.commit}`,
    ...Object.entries(report.subjects).map(([name, description]) => `${name}: ${description}`),
    "",
    ...resultLines(report, own, workloads),
    ...(floors.length > 0 ? ["", "floors", ...floors] : []),
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
  const model = await resolvedModel(options.model);
  const settings = { model, threads: options.threads, device: options.device };
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
