// SPDX-License-Identifier: Apache-2.0
// A workload says what is to be done and how its figures are named; a subject does it. The runner knows neither.
//
// Lengths are rows (tokens); token ids are the same for every subject (see tokens.ts). A figure of a trial is the
// median of the trial's repetitions; a result is the median, minimum and maximum over trials, each in its own process.
import type { ChainSources, ForcedChain } from "./chains/forced-chain.js";

/** What one trial does. */
export type Task =
  /** Rows into an empty cache, logits of the last row. */
  | { kind: "prefill"; rows: number; repetitions: number; warmup: boolean }
  /** Greedy tokens one by one behind `context` cached rows. */
  | { kind: "decode"; context: number; tokens: number; repetitions: number; warmup: boolean }
  /** `prefix` rows are cached; from the hand-over of an opener of `opener` tokens to the first generated token. */
  | { kind: "handover"; prefix: number; opener: number; repetitions: number }
  /** Peak resident memory of a process that caches `rows` rows and generates `tokens` tokens. */
  | { kind: "memory"; rows: number; tokens: number }
  /** A chain through the public API: what JavaScript adds to the engine's own time. */
  | { kind: "overhead"; tokens: number; repetitions: number }
  /** The first turn of the case's chains, decoded with guesses of its next tokens and without. */
  | { kind: "drafting" }
  /** The case's chains one after another. */
  | { kind: "chain" }
  /** The same, of chains whose roles come back. */
  | { kind: "rounds" }
  /** Chains whose turns are branches over one trunk. */
  | { kind: "fan-out" }
  /** Optimiser steps over the case's chains, the prompt of one stage trained. */
  | { kind: "train"; stage: string; batch: number; repetitions: number }
  /** The case's chains, as many at once as may be: rows only, nothing is timed. */
  | { kind: "rows" };

export type TaskKind = Task["kind"];

export interface Metric {
  name: string;
  unit: string;
  better: "higher" | "lower";
}

/** A promise of the project about one metric: a factor against a subject, a share of its figure, or a limit. */
export type Floor =
  | { metric: string; against: string; factor: number }
  | { metric: string; against: string; atMostShare: number }
  | { metric: string; atMost: number };

export interface Case {
  /** Unique over all workloads, e.g. "prefill-512". */
  id: string;
  task: Task;
  /** Processes per subject. */
  trials: number;
  /** Nothing in it depends on who else uses the machine: no quiet is waited for, and nothing is run again. */
  untimed?: boolean;
  /** What chains run, if the task has any. Throws MissingData without the data that they are made of. */
  chains?: (sources: ChainSources) => ForcedChain[];
}

export interface Workload {
  name: string;
  suite: string;
  metrics: readonly Metric[];
  floors: readonly Floor[];
  cases(quick: boolean): Case[];
}

export interface TrialSettings {
  /** Absolute path of the GGUF file, the same for all subjects. */
  model: string;
  threads: number;
  device: string;
  /** JSON file of the case's chains (ForcedChain[]), if it has any. */
  chains?: string;
}

/** Metric name -> one value per repetition. */
export type Samples = Record<string, number[]>;

export interface Subject {
  name: string;
  /** Ours is what the ratios are about. */
  rival: boolean;
  kinds: readonly TaskKind[];
  /** Script of bench/rivals that installs what it needs and is not there; must end with 0. */
  setup?: string;
  /** Name, version and settings that matter, for the report. Runs in a process of its own. */
  describe(settings: TrialSettings): Promise<string>;
  measure(task: Task, settings: TrialSettings): Promise<Samples>;
}
