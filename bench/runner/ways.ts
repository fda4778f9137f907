// SPDX-License-Identifier: Apache-2.0
// Rivals are measured at their best: each way to set one up is tried once before a case, on a short form of its task, and
// what was tried is written down.
import type { Metric, Samples, Subject, Task, TrialSettings, Way } from "../contract.js";
import type { Tried } from "./report.js";
import { median, timesBetter } from "./statistics.js";

/** As little of it as tells ways apart: rows and contexts stay. */
export function shortened(task: Task): Task {
  switch (task.kind) {
    case "prefill":
      return { ...task, repetitions: 1 };
    case "decode":
    case "kv":
      return { ...task, tokens: Math.min(task.tokens, 12), repetitions: 1 };
    case "batch": {
      const most = Math.max(...task.counts);
      return { ...task, counts: [most], tokens: Math.min(task.tokens, 12), repetitions: 1 };
    }
    case "handover":
      return { ...task, repetitions: 1 };
    default:
      return task;
  }
}

export interface Tries {
  /** Undefined: there was nothing to choose. */
  way: Way | undefined;
  tried: Tried[];
}

/** The best of the ways by the first of `metrics` that their trials report. Throws what the last one threw if all fail. */
export async function bestWay(
  caseId: string,
  subject: Subject,
  task: Task,
  settings: TrialSettings,
  metrics: readonly Metric[],
  run: (task: Task, settings: TrialSettings) => Promise<Samples>,
): Promise<Tries> {
  const ways = subject.ways?.(task, settings) ?? [];
  if (ways.length < 2) return { way: ways[0], tried: [] };
  const tried: Tried[] = [];
  let best: { way: Way; value: number } | undefined;
  let failure: unknown;
  for (const way of ways) {
    try {
      const samples = await run(shortened(task), { ...settings, way });
      const metric = metrics.find(({ name }) => samples[name] !== undefined);
      if (metric === undefined) throw new Error(`${subject.name} reports no metric of ${caseId}`);
      const value = median(samples[metric.name] as number[]);
      tried.push({ workload: caseId, subject: subject.name, way: way.name, metric: metric.name, value });
      if (best === undefined || timesBetter(value, best.value, metric.better) > 1) best = { way, value };
    } catch (error) {
      failure = error;
    }
  }
  if (best === undefined) throw failure;
  return { way: best.way, tried };
}
