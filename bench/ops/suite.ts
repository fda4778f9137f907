// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- --suite ops`: single kernels beside what the machine can do. One process a section, each of which
// measures the limits itself, so that both sides of a share have the same clock; a section that somebody disturbed is
// measured again like a trial of the other suites. No model and no rivals.
import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { awaitQuiet, cpuTimes, othersShare, quietShare } from "../runner/load.js";
import { describeMachine } from "../runner/machine.js";
import { type BenchOptions, UsageError } from "../runner/options.js";
import { root } from "../runner/paths.js";
import { checkOpsReport, checkSection, mergeLimits, type OpsReport, type OpsSection } from "./report.js";

export const opsSuite = { name: "ops" };

const retries = 2;

export interface OpsInit {
  options: Pick<BenchOptions, "threads" | "quick" | "json" | "only" | "patienceMs">;
  commit: string;
  signal: AbortSignal;
  say: (line: string) => void;
}

/** The program as it was compiled last, if it ever was. */
export function compiledProgram(): string | undefined {
  const folder = `build-cmake/${process.platform}-${process.arch}-release`;
  const program = path.join(root, folder, "baton_ops_bench");
  return existsSync(program) ? program : undefined;
}

/** Compiles the program and gives its path. */
export async function buildProgram(): Promise<string> {
  const script = pathToFileURL(path.join(root, "scripts/build-native.mjs")).href;
  const { buildNative } = (await import(script)) as {
    buildNative: (build: { bench: boolean }) => Promise<{ bench: string | undefined }>;
  };
  const { bench } = await buildNative({ bench: true });
  if (bench === undefined) throw new Error("the build made no baton_ops_bench");
  return bench;
}

/** What the program prints on standard output. */
export async function runProgram(
  program: string,
  args: readonly string[],
  signal?: AbortSignal,
): Promise<string> {
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    ...(signal === undefined ? {} : { signal }),
  });
  const text = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (part: string) => {
      text[stream] += part;
    });
  }
  const ended = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, name) => resolve(name ?? code));
  });
  if (ended !== 0) throw new Error(`${path.basename(program)} ended with ${ended}: ${text.stderr.trim()}`);
  return text.stdout;
}

/** Those that are wanted: names of sections, or their first words. */
export function chosenSections(all: readonly string[], only: readonly string[], quick: boolean): string[] {
  for (const name of only) {
    if (all.some((one) => one === name || one.split(" ", 1)[0] === name)) continue;
    throw new UsageError(`--only ${name}: the suite ops has the sections ${all.join(", ")}`);
  }
  if (only.length > 0)
    return all.filter((one) => only.some((name) => one === name || one.split(" ", 1)[0] === name));
  const ofOtherTypes = /^\w+ (?!(?:F16|Q8_0|Q4_1)$)/;
  return quick ? all.filter((one) => !ofOtherTypes.test(one)) : [...all];
}

interface Measured {
  section: OpsSection;
  others: number;
}

async function measureOnce(program: string, name: string, init: OpsInit): Promise<Measured> {
  const { options, signal } = init;
  const cores = os.availableParallelism();
  const args = ["--json", "--section", name, "--threads", String(options.threads)];
  const quick = options.quick ? ["--quick", "--repeat", "3"] : [];
  const before = await awaitQuiet(cores, options.patienceMs);
  const start = cpuTimes();
  const printed = await runProgram(program, [...args, ...quick], signal);
  const others = Math.max(before, othersShare(start, cpuTimes(), cores));
  return { section: checkSection(JSON.parse(printed)), others };
}

/** The least disturbed of at most 1 + `retries` attempts. */
async function measureQuietly(program: string, name: string, init: OpsInit): Promise<Measured> {
  let best = await measureOnce(program, name, init);
  for (let again = 0; again < retries && best.others > quietShare && !init.signal.aborted; again++) {
    const next = await measureOnce(program, name, init).catch((error: unknown) => {
      if (init.signal.aborted) return best;
      throw error;
    });
    if (next.others < best.others) best = next;
  }
  return best;
}

/** Measures section after section; the file is written after each. A stop keeps what there is. */
export async function runOps(init: OpsInit): Promise<OpsReport | null> {
  const { options, commit, signal, say } = init;
  const program = await buildProgram();
  const all = (await runProgram(program, ["--list"])).trim().split("\n");
  const wanted = chosenSections(all, options.only, options.quick);
  const sections: OpsSection[] = [];
  let report: OpsReport | null = null;
  const kernels: OpsReport["kernels"] = [];
  for (const name of wanted) {
    if (signal.aborted) break;
    const measured = await measureQuietly(program, name, init).catch((error: unknown) => {
      if (signal.aborted) return null;
      throw error;
    });
    if (measured === null) break;
    const { section, others } = measured;
    const disturbed = others > quietShare;
    sections.push(section);
    kernels.push(...section.kernels.map((one) => ({ ...one, section: name, disturbed })));
    const { isa, threads, repeat } = section;
    const settings = { threads, quick: options.quick, repeat, isa };
    const date = new Date().toISOString();
    report = { machine: describeMachine(), date, commit, settings, limits: mergeLimits(sections), kernels };
    checkOpsReport(report);
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
    const note = disturbed ? ` (disturbed: others used ${others.toFixed(2)} cores)` : "";
    say(`${name}: ${section.kernels.length} cases${note}`);
  }
  return report;
}
