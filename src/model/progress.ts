// SPDX-License-Identifier: Apache-2.0
// How far something is. Whatever takes its time tells it in one form, so that one function can listen to all: `phase` says
// what is done, `done` how much of it, `total` how much there is.

/** Of a model that is looked for, in bytes. */
export interface SourceProgress {
  /** Name of the source in the table: "local", "hub", "python". */
  source: string;
  /** wait: another process is fetching the same file. */
  phase: "start" | "wait" | "download" | "unpack" | "failed" | "done";
  done: number;
  /** Absent where the source does not say. */
  total?: number;
  /** What is being fetched, or why the source failed. */
  detail?: string;
}

/**
 * Progress of a load: the source's (download, check), then the engine's. `load` comes with the bytes of the file whose
 * weights need nothing more, of all: with 0 at first, then whenever a hundredth is packed for the CPU or uploaded to a
 * GPU and this thread is free to hear of it. `ready` is the last, with all bytes; it follows at once where nothing has
 * to be packed.
 */
export type LoadProgress =
  | SourceProgress
  | { source: "engine"; phase: "load" | "ready"; done: number; total: number };

/** Of an append, or of what is computed before an output, in rows. */
export interface PrefillProgress {
  phase: "prefill";
  done: number;
  total: number;
  /** In a chain: with the groups around it, as events name it. */
  stage?: string;
}

/** Of an output, in tokens; `total` is the most that it may have. */
export interface DecodeProgress {
  phase: "decode";
  done: number;
  total: number;
  stage?: string;
}

/** Of a training run: in steps, or in dev records whose loss is known or that are scored. */
export interface TuneProgress {
  phase: "train" | "evaluate" | "score";
  done: number;
  total: number;
}

export type Progress = LoadProgress | PrefillProgress | DecodeProgress | TuneProgress;

/** Called on this thread. What it throws ends the work, which rejects with that. */
export type OnProgress = (progress: Progress) => void;
