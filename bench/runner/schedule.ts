// SPDX-License-Identifier: Apache-2.0
// Which trial runs when: subjects take turns trial by trial, so a slow minute of the machine hits all of them alike.
import type { Case, Samples, Subject, Task, TrialSettings, Workload } from "../contract.js";
import { awaitQuiet, cpuTimes, othersShare, quietShare } from "./load.js";
import type { Result, Tried, Turn, Unmeasured } from "./report.js";
import { median, spreadOfTrials } from "./statistics.js";
import { figure } from "./table.js";
import { runTrial } from "./trial-process.js";
import { bestWay } from "./ways.js";

/** A trial that somebody disturbed is run again this often before it is kept as disturbed. */
const retries = 2;

export type Progress = (line: string) => void;

export interface Surroundings {
  cores: number;
  /** 0: the machine is taken as it is; nothing is waited for, and nothing is run again. */
  patienceMs: number;
  progress: Progress;
  /** Ends the trial that runs; the figures of those before are kept. */
  signal: AbortSignal;
}

export interface CaseOutcome {
  results: Result[];
  tried: Tried[];
  unmeasured: Unmeasured[];
}

interface Measured {
  samples: Samples;
  /** Cores' worth of time that others took. */
  others: number;
}

async function measureOnce(
  subject: Subject,
  { task, untimed = false }: Case,
  settings: TrialSettings,
  { cores, patienceMs, signal }: Surroundings,
): Promise<Measured> {
  const before = untimed || patienceMs === 0 ? 0 : await awaitQuiet(cores, patienceMs);
  const start = cpuTimes();
  const samples = (await runTrial({ subject: subject.name, settings, task }, signal)) as Samples;
  const others = untimed ? 0 : othersShare(start, cpuTimes(), cores);
  return { samples, others: Math.max(before, others) };
}

/** The least disturbed of at most 1 + `retries` attempts; after a stop, of those that were made. */
async function measureQuietly(...args: Parameters<typeof measureOnce>): Promise<Measured> {
  const { signal, patienceMs } = args[3];
  const most = patienceMs === 0 ? 0 : retries;
  let best = await measureOnce(...args);
  for (let again = 0; again < most && best.others > quietShare && !signal.aborted; again++) {
    const next = await measureOnce(...args).catch((error: unknown) => {
      if (signal.aborted) return best;
      throw error;
    });
    if (next.others < best.others) best = next;
  }
  return best;
}

/** Whether it takes part in a case. */
export const takes = ({ kinds, name }: Subject, { task, beside }: Case): boolean =>
  kinds.includes(task.kind) || (beside?.includes(name) ?? false);

/** The trials of one case by subject and metric, and what is said of them. */
class CaseTrials {
  readonly #turns = new Map<string, Turn[]>();
  readonly #ways = new Map<string, string>();
  readonly outcome: CaseOutcome = { results: [], tried: [], unmeasured: [] };

  add(subject: string, { samples, others }: Measured): void {
    for (const [metric, values] of Object.entries(samples)) {
      const key = `${subject} ${metric}`;
      this.#turns.set(key, [...(this.#turns.get(key) ?? []), { value: median(values), others }]);
    }
  }

  found(subject: string, way: string | undefined, tried: readonly Tried[]): void {
    if (way !== undefined) this.#ways.set(subject, way);
    this.outcome.tried.push(...tried);
  }

  /** In the order of the metrics. */
  finish(workload: Workload, id: string, subjects: readonly Subject[]): CaseOutcome {
    for (const { name: metric, unit } of workload.metrics) {
      for (const { name: subject } of subjects) {
        const turns = this.#turns.get(`${subject} ${metric}`);
        if (turns === undefined) continue;
        const trials = turns.map(({ value, others }) => ({ value, disturbed: others > quietShare }));
        const way = this.#ways.get(subject);
        const said = way === undefined ? {} : { way };
        this.outcome.results.push({
          ...{ workload: id, subject, metric, unit, ...spreadOfTrials(trials), turns, ...said },
        });
      }
    }
    return this.outcome;
  }
}

function progressLine(id: string, subject: string, turn: string, { samples, others }: Measured): string {
  const note = others > quietShare ? ` (disturbed: others used ${others.toFixed(2)} cores)` : "";
  const figures = Object.entries(samples).map(([name, values]) => `${name} ${figure(median(values))}`);
  return `${id} ${subject} ${turn}: ${figures.join(", ")}${note}`;
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Runs all trials of one case. A subject that fails is reported and left out of the rest of the case. */
export async function runCase(
  workload: Workload,
  one: Case,
  subjects: readonly Subject[],
  settings: TrialSettings,
  surroundings: Surroundings,
): Promise<CaseOutcome> {
  const { progress, signal } = surroundings;
  const trials = new CaseTrials();
  const taking = new Map<Subject, TrialSettings>();
  const fail = (subject: Subject, error: unknown) => {
    taking.delete(subject);
    if (signal.aborted) return;
    progress(`${one.id} ${subject.name}: ${messageOf(error)}`);
    const why = messageOf(error).split("\n", 1)[0] as string;
    trials.outcome.unmeasured.push({ workload: one.id, subject: subject.name, why });
  };
  for (const subject of subjects.filter((each) => takes(each, one))) {
    if (signal.aborted) break;
    try {
      const run = async (task: Task, own: TrialSettings) =>
        (await runTrial({ subject: subject.name, settings: own, task }, signal)) as Samples;
      const { way, tried } = await bestWay(one.id, subject, one.task, settings, workload.metrics, run);
      for (const each of tried)
        progress(`${one.id} ${subject.name} tried ${each.way}: ${figure(each.value)}`);
      trials.found(subject.name, way?.name, tried);
      taking.set(subject, way === undefined ? settings : { ...settings, way });
    } catch (error) {
      fail(subject, error);
    }
  }
  for (let turn = 0; turn < one.trials; turn++) {
    for (const [subject, own] of [...taking]) {
      if (signal.aborted) break;
      try {
        const measured = await measureQuietly(subject, one, own, surroundings);
        trials.add(subject.name, measured);
        progress(progressLine(one.id, subject.name, `${turn + 1}/${one.trials}`, measured));
      } catch (error) {
        fail(subject, error);
      }
    }
  }
  return trials.finish(workload, one.id, subjects);
}
