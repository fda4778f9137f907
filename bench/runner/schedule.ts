// SPDX-License-Identifier: Apache-2.0
// Which trial runs when: subjects take turns trial by trial, so a slow minute of the machine hits all of them alike.
import type { Case, Samples, Subject, TrialSettings, Workload } from "../contract.js";
import { awaitQuiet, cpuTimes, othersShare, quietShare } from "./load.js";
import type { Result } from "./report.js";
import { median, spreadOfTrials, type Trial } from "./statistics.js";
import { figure } from "./table.js";
import { runTrial } from "./trial-process.js";

/** A trial that somebody disturbed is run again this often before it is kept as disturbed. */
const retries = 2;

export type Progress = (line: string) => void;

export interface Surroundings {
  cores: number;
  patienceMs: number;
  progress: Progress;
  /** Ends the trial that runs; the figures of those before are kept. */
  signal: AbortSignal;
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
  const before = untimed ? 0 : await awaitQuiet(cores, patienceMs);
  const start = cpuTimes();
  const samples = (await runTrial({ subject: subject.name, settings, task }, signal)) as Samples;
  const others = untimed ? 0 : othersShare(start, cpuTimes(), cores);
  return { samples, others: Math.max(before, others) };
}

/** The least disturbed of at most 1 + `retries` attempts; after a stop, of those that were made. */
async function measureQuietly(...args: Parameters<typeof measureOnce>): Promise<Measured> {
  const { signal } = args[3];
  let best = await measureOnce(...args);
  for (let again = 0; again < retries && best.others > quietShare && !signal.aborted; again++) {
    const next = await measureOnce(...args).catch((error: unknown) => {
      if (signal.aborted) return best;
      throw error;
    });
    if (next.others < best.others) best = next;
  }
  return best;
}

/** Runs all trials of one case. A subject that fails is reported and left out of the rest of the case. */
export async function runCase(
  workload: Workload,
  one: Case,
  subjects: readonly Subject[],
  settings: TrialSettings,
  surroundings: Surroundings,
): Promise<Result[]> {
  const { progress, signal } = surroundings;
  const taking = new Set(subjects.filter((subject) => subject.kinds.includes(one.task.kind)));
  const trials = new Map<string, Trial[]>();
  for (let turn = 0; turn < one.trials; turn++) {
    for (const subject of taking) {
      if (signal.aborted) break;
      try {
        const { samples, others } = await measureQuietly(subject, one, settings, surroundings);
        const disturbed = others > quietShare;
        for (const [metric, values] of Object.entries(samples)) {
          const key = `${subject.name} ${metric}`;
          trials.set(key, [...(trials.get(key) ?? []), { value: median(values), disturbed }]);
        }
        const note = disturbed ? ` (disturbed: others used ${others.toFixed(2)} cores)` : "";
        const figures = Object.entries(samples).map(([name, values]) => `${name} ${figure(median(values))}`);
        progress(`${one.id} ${subject.name} ${turn + 1}/${one.trials}: ${figures.join(", ")}${note}`);
      } catch (error) {
        progress(`${one.id} ${subject.name}: ${error instanceof Error ? error.message : String(error)}`);
        taking.delete(subject);
      }
    }
  }
  return workload.metrics.flatMap(({ name, unit }) =>
    subjects.flatMap((subject) => {
      const values = trials.get(`${subject.name} ${name}`);
      if (values === undefined) return [];
      return [{ workload: one.id, subject: subject.name, metric: name, unit, ...spreadOfTrials(values) }];
    }),
  );
}
