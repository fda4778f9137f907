// SPDX-License-Identifier: Apache-2.0
// A workload says what is to be done and how its figures are named; a subject does it. The runner knows neither.
//
// Lengths are rows (tokens); token ids are the same for every subject (see tokens.ts). A figure of a trial is the
// median of the trial's repetitions; a result is the median, minimum and maximum over trials, each in its own process.
import type { ChainSources, ForcedChain } from "./chains/forced-chain.js";
import type { ShapeName, SpeedModel, WeightTypeName } from "./models/shapes.js";

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
  /** Greedy tokens of so many sequences in one batch, all together; `shared`: one context that all of them read. */
  | {
      kind: "batch";
      context: number;
      shared: boolean;
      counts: readonly number[];
      tokens: number;
      repetitions: number;
    }
  /** Decoding under a grammar and without one in turns. */
  | { kind: "constrained"; context: number; tokens: number; repetitions: number }
  /** Decoding behind int8 KV and behind f16 KV in turns. */
  | { kind: "kv"; context: number; tokens: number; repetitions: number }
  /** From nothing to the first token, the file in the page cache, and what then is resident. */
  | { kind: "load"; rows: number }
  /** How far next-token distributions are from those of the case's reference, by ways that rows can take (subjects/divergence.ts). */
  | { kind: "divergence"; paths: readonly string[] }
  /** A chain through the public API: what JavaScript adds to the engine's own time. */
  | { kind: "overhead"; tokens: number; repetitions: number }
  /**
   * The first turn of the case's chains, decoded with guesses of its next tokens and without; `free`: so many of the
   * turns are also written freely both ways and compared.
   */
  | { kind: "drafting"; free?: number }
  /** Cached rows to a file and back, and the first token behind them. */
  | { kind: "snapshot"; rows: number; repetitions: number; kvType?: "int8" }
  /** Rows that an earlier segment, or an earlier process, has had: the first token behind them. */
  | { kind: "reuse"; from: "index" | "disk"; rows: number; repetitions: number }
  /** So many branches over one trunk. */
  | { kind: "branches"; trunk: number; count: number; repetitions: number }
  /** Decoding behind `context` rows while so many `rows` that nobody holds move to a tier, and alone. */
  | { kind: "moving"; rows: number; context: number; tokens: number; repetitions: number }
  /** So many requests of a trace, under every eviction policy. */
  | { kind: "policies"; requests: number }
  /** Outputs of so many `tokens`, so many at once, behind the server and by the bare API. */
  | { kind: "server"; streams: number; tokens: number; repetitions: number }
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

/** What of a machine decides which promise holds: the widest of these that its CPU has and BATON_ISA allows. */
export type MachineKind = "amx" | "avx512" | "avx2" | "scalar";

/** A promise of the project about one metric: a factor against a subject, a share of its figure, or a limit. */
export type Floor = (
  | { against: string; factor: number /** Its metric, if not of the same name. */; theirs?: string }
  | { against: string; atMostShare: number; theirs?: string }
  /** As good as the other's figure, but for `slack`: what the figures are told to. */
  | { against: string; noWorse: true; slack: number; theirs?: string }
  | { atMost: number }
  | { atLeast: number }
) & {
  metric: string;
  /** Cases that it is made for; absent: all. */
  cases?: RegExp;
  /** Machines that it is made for; absent: all. */
  on?: readonly MachineKind[];
};

/** Text of so many pieces, each of so many rows, whose distributions a reference has. */
export interface ReferenceSize {
  chunks: number;
  rows: number;
}

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
  /** Runs on this model instead of the run's. */
  model?: SpeedModel;
  /** Runs on the run's model with its weights in this type. */
  retyped?: WeightTypeName;
  /** Distributions of the case's model in float32, made before the case. */
  reference?: ReferenceSize;
  /** Subjects that take turns with the others though the task is none of their kinds. */
  beside?: readonly string[];
}

/** Which speed models a run is about. */
export interface Choice {
  shapes: readonly ShapeName[];
  types: readonly WeightTypeName[];
}

export interface Workload {
  name: string;
  suite: string;
  metrics: readonly Metric[];
  floors: readonly Floor[];
  cases(quick: boolean, choice: Choice): Case[];
}

export interface TrialSettings {
  /** Absolute path of the GGUF file, the same for all subjects. */
  model: string;
  threads: number;
  device: string;
  /** JSON file of the case's chains (ForcedChain[]), if it has any. */
  chains?: string;
  /** File of the case's reference (divergence/reference-file.ts), if it has one. */
  reference?: string;
  /** What the subject was found to be fastest with. */
  way?: Way;
  /** A short run: fewer ways are tried. */
  quick?: boolean;
}

/** A way to set a subject up for a task. */
export interface Way {
  /** For the report, e.g. "flash attention on, K and V q8_0". */
  name: string;
  args: readonly string[];
}

/** Metric name -> one value per repetition. */
export type Samples = Record<string, number[]>;

export interface Subject {
  name: string;
  /** Ours is what the ratios are about. */
  rival: boolean;
  /** What it is a program of: names several subjects at once on the command line. */
  family?: string;
  kinds: readonly TaskKind[];
  /** Script of bench/rivals that installs what it needs and is not there; must end with 0. */
  setup?: string;
  /** Name, version and settings that matter, for the report. Runs in a process of its own. */
  describe(settings: TrialSettings): Promise<string>;
  measure(task: Task, settings: TrialSettings): Promise<Samples>;
  /** Each is tried once, briefly, before a case; the best of them by the first metric is measured. */
  ways?(task: Task, settings: TrialSettings): readonly Way[];
}
