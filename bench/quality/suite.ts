// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- --suite quality`: training runs of hours on a small machine, in as many sittings as it takes. The
// file is written after every run, so that a sitting that is stopped has lost the run under way and nothing else.
import { MissingData } from "../chains/data.js";
import { describeMachine } from "../runner/machine.js";
import type { BenchOptions } from "../runner/options.js";
import { UsageError } from "../runner/options.js";
import { Bench } from "./bench.js";
import { cases } from "./cases/index.js";
import type { PlannedRun, QualityCase, QualityReport } from "./contract.js";
import { namesOf, planRuns, runsLeft } from "./plan.js";
import { machineName, openReport, writeReport } from "./report-file.js";
import { summaryLines } from "./summary.js";

export const qualitySuite = { name: "quality", names: namesOf(cases) };

export interface SuiteInit {
  options: BenchOptions;
  /** Absolute path of the GGUF file. */
  model: string;
  commit: string;
  signal: AbortSignal;
  say: (line: string) => void;
}

/** Cases whose data are there; the facts about them go into the report. */
function casesWithData(report: QualityReport, { options, say }: SuiteInit): QualityCase[] {
  return cases.filter((one) => {
    try {
      report.facts[one.id] = one.facts(options.data);
      return true;
    } catch (error) {
      if (!(error instanceof MissingData)) throw error;
      say(`${one.id} is left out: it ${error.message}`);
      return false;
    }
  });
}

export interface Sitting {
  report: QualityReport;
  machine: string;
  json: string;
  commit: string;
  bench: Bench;
}

/** One after another; each is in the file before the next begins. */
export async function makeRuns(
  left: readonly PlannedRun[],
  { report, machine, json, commit, bench }: Sitting,
): Promise<void> {
  for (const { case: one, variant, seed } of left) {
    if (bench.init.signal.aborted) return;
    const began = performance.now();
    const measured = await variant.measure(bench, seed);
    const seconds = (performance.now() - began) / 1000;
    const date = new Date().toISOString();
    const made = { case: one.id, variant: variant.name, seed, machine, date, commit, seconds };
    report.runs.push({ ...made, ...measured });
    writeReport(json, report);
  }
}

/** Lines about everything that the file holds. Throws UsageError; an abort ends the run under way. */
export async function runQuality(init: SuiteInit): Promise<string[]> {
  const { options, commit, signal, say } = init;
  const { json, threads, data, work } = options;
  if (json === undefined)
    throw new UsageError("--suite quality takes hours: say with --json where its figures go");
  const model = init.model.split("/").at(-1) as string;
  const here = describeMachine();
  const report = openReport(json, { machine: here, model, threads });
  const planned = planRuns(casesWithData(report, init), options.only, options.seeds);
  const left = runsLeft(planned, report);
  say(`${planned.length} runs, ${planned.length - left.length} of them done`);
  const bench = await Bench.create({ model: init.model, threads, data, work, signal, say });
  try {
    await makeRuns(left, { report, machine: machineName(here), json, commit, bench });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await bench.close();
  }
  return summaryLines(report, cases);
}
