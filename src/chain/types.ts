// SPDX-License-Identifier: Apache-2.0
// What users of chains see: options in, events and results out. Types stay flat: unions of names, no recursion.

import type { CacheOptions } from "../cache/cache-options.js";
import type { OutputFigures, TokenLogprob } from "../cache/logprobs.js";
import type { FinishReason, OutputOptions } from "../cache/output-options.js";
import type { OutputSchema } from "../cache/output-schema.js";
import type { SnapshotTarget } from "../cache/snapshot/places.js";
import type { SnapshotOptions, SnapshotReport } from "../cache/snapshot/write.js";
import type { DecodeProgress, PrefillProgress } from "../model/progress.js";
import type { PromptSource } from "../model/prompt.js";
import type { MissReason, TierMove } from "../native/types.js";

/** How the frames of a chain are laid out; see docs/how-it-works.md. */
export type Layout = "contiguous" | "concatenated";

export interface ChainOptions {
  /**
   * `contiguous` (default): every segment is written in a frame of its own, prompts at negative positions.
   * `concatenated`: absolute positions over all prompts, then everything in order; for published checkpoints.
   */
  layout?: Layout;
}

/** What the program's own code between stages learns about the run it serves. */
export interface CallContext {
  /** Aborted when the run is; pass it on to whatever the function waits for. */
  signal: AbortSignal;
}

/** What a `from` function learns about the run it serves. */
export type FromContext = CallContext;

/** Inside of a fan-out. */
export interface BranchContext {
  /** Place of the branch, counted from 0. */
  index: number;
  /** Its item; absent for samples. */
  item?: string;
}

/** Inside of rounds. */
export interface RoundContext {
  /** Counted from 0. */
  round: number;
}

export interface InputResult {
  /** The value as given or as returned by `from`, before `format`. */
  text: string;
}

interface InputFields<Reads extends string> {
  /** Text around the value; every `{<input name>}` stands for it. May name special tokens; the value may not. */
  format?: string;
  /** Reads nothing at all, not even a prompt: its KV does not depend on anything else. */
  alone?: boolean;
  /** Narrows what the input reads: names of shared inputs declared before. Default: all of them. */
  reads?: readonly Reads[];
}

/** An input whose value is given to `run`. */
export interface GivenInput<Reads extends string> extends InputFields<Reads> {
  from?: undefined;
}

/** An input whose value the program computes once every stage declared before it has ended. */
export interface ComputedInput<Reads extends string, Results, Context = FromContext>
  extends InputFields<Reads> {
  from: (results: Results, context: Context) => string | Promise<string>;
}

export interface StageOptions<
  Reads extends string,
  Own extends string,
  Schema extends OutputSchema | undefined = OutputSchema | undefined,
> extends OutputOptions {
  output?: Schema;
  /** Soft prompt: PEFT folder, `{ text }`, `{ rows, count }`. A stage still to be tuned may lack one. */
  prompt?: PromptSource;
  /** Inputs that only this stage reads, in this order after what it reads; their KV is freed after it. */
  own?: readonly Own[];
  /** Names of inputs and stages declared before. Default: all shared inputs and all outputs. */
  reads?: readonly Reads[];
  /** Text that begins the output, unscored. Default without own inputs: the model's BOS, else a newline. */
  opener?: string;
  /** Stripped from the start of generated text. Default: one space; none beside `output`. */
  lead?: string;
}

/** A stage that must have something to join. */
export interface JoinOptions<
  Reads extends string,
  Own extends string,
  Schema extends OutputSchema | undefined = OutputSchema | undefined,
> extends StageOptions<Reads, Own, Schema> {
  reads: readonly Reads[];
}

/** What a fan-out has a branch for: every item, or so many samples of the same. */
export type FanOutSource<Results, Context> =
  | { items: (results: Results, context: Context) => readonly string[] | Promise<readonly string[]> }
  | { samples: number };

export interface StageUsage {
  /** Tokens generated, the closing token not counted. */
  tokens: number;
  /** Guesses of next tokens that were computed as rows, and those of them that were right; see `drafting`. */
  draftedTokens: number;
  acceptedTokens: number;
  /**
   * Rows that went through a forward for this stage: shared inputs it was first to need included, and what was
   * computed ahead of it while the program's own code ran or before branches went apart.
   */
  rowsComputed: number;
  /**
   * Rows whose KV was already there: earlier segments and its prompt, if computed before this run, and rows of its
   * inputs that were found by their content.
   */
  rowsReused: number;
  /** Milliseconds from hand-over (everything it waits for is there) to the first sampled token. */
  timeToFirstTokenMs: number;
  /** Generation speed after the first token; 0 with fewer than two tokens. */
  tokensPerSecond: number;
  /** Bytes of KV that the stage's frame holds when it ends: prompt, reads, own inputs and output. */
  kvBytes: number;
}

/** `logprobs` and `closing` if the stage asks for `logprobs`. */
export interface StageResult extends OutputFigures {
  /** Generated text, without opener, lead and closing token. */
  text: string;
  /** Ids of the tokens generated. */
  tokens: readonly number[];
  reason: FinishReason;
  /** What the text says, if the stage asks for an `output`; typed by it. */
  object?: unknown;
  usage: StageUsage;
}

/** What became of `rounds`. */
export interface RoundsResult<Round> {
  /** Inputs and results of the steps of every round that ran, by name. */
  rounds: readonly Round[];
  /** `until`: its condition held after the last round; `max`: it never did. */
  stopped: "until" | "max";
}

/**
 * What the steps of a round see of the rounds before, under the name of the rounds: by name what is declared before the
 * step in the round, and loosely what comes after it, whose types are not known yet.
 */
export interface RoundsSoFar<Round = unknown> {
  readonly rounds: readonly (Readonly<Record<string, InputResult>> & Round)[];
}

export interface RoundsOptions<Results, Context> {
  /** Most rounds, at least 1. */
  max: number;
  /** Asked after every round, the last one too; true ends the rounds. */
  until?: (results: Results, context: Context) => boolean | Promise<boolean>;
}

/** Events name a stage with the groups around it: `debate[1].reason`. */
export type ChainEvent<Stage extends string = string> =
  | { type: "stage-start"; stage: Stage }
  /** Rows of prefill done for the stage: own inputs, opener, and shared inputs it is first to need. */
  | { type: "prefill"; stage: Stage; done: number; total: number }
  /**
   * `rows` rows of `segment` were not computed again: of a prompt or an earlier segment, which is there, or of an input
   * or the opener of this stage, found by their content.
   */
  | { type: "cache-hit"; stage: Stage; segment: string; rows: number }
  /** An input that this stage is first to need was not found by its content, or only in part: `rows` are computed. */
  | { type: "cache-miss"; stage: Stage; segment: string; rows: number; reason: Exclude<MissReason, "none"> }
  /** Rows of an input that the pool has given up and a tier has: whether they were read back or computed again, and why. */
  | ({ type: "cache-tier"; stage: Stage; segment: string } & TierMove)
  /** A trained prompt is used otherwise than it was trained. */
  | { type: "warning"; stage: Stage; message: string }
  /**
   * Whole characters only; the concatenation is the stage's `text`. `logprobs`, if the stage asks for them: of the
   * tokens that came since the delta before; their concatenation is the stage's `logprobs`.
   */
  | { type: "text-delta"; stage: Stage; text: string; logprobs?: readonly TokenLogprob[] }
  /** `closing`: the token that ended it, when `reason` is "closed" and the stage asks for `logprobs`. */
  | {
      type: "stage-end";
      stage: Stage;
      text: string;
      reason: FinishReason;
      closing?: TokenLogprob;
      usage: StageUsage;
    };

export interface RunOptions extends CacheOptions {
  /** Takes effect within one layer's time; the result then rejects with `signal.reason` and the KV is freed. */
  signal?: AbortSignal;
  /** Hears of rows that are computed and of tokens that are written, by stage. */
  onProgress?: (progress: PrefillProgress | DecodeProgress) => void;
}

export interface ResumeOptions extends RunOptions {
  /**
   * true: where a part of the snapshot is damaged, its rows are computed again, and where the prompt of a stage is another
   * one, that stage and what came after it run again. Default false: both are errors.
   */
  partial?: boolean;
}

/** A run in progress: iterate it for events, await `result` for the outcome. Breaking out of the loop cancels. */
export interface ChainRun<Stage extends string, Results = Record<Stage, StageResult>>
  extends AsyncIterable<ChainEvent<Stage>> {
  readonly result: Promise<Results>;
  /**
   * Saves the run as it stands now, in the middle of whatever it does, to a file or a stream; `chain.resume` goes on from
   * there. The run itself goes on at once. Rejects with CLOSED when it has ended, and as a cache handle's `snapshot`.
   */
  snapshot(to: SnapshotTarget, options?: SnapshotOptions): Promise<SnapshotReport>;
  [Symbol.asyncIterator](): AsyncIterator<ChainEvent<Stage>, undefined>;
}

/** What a resumed run took over from its snapshot. */
export interface ResumeReport {
  /** Rows of KV that are not computed again. */
  rows: number;
  /** Rows of the snapshot that are: damaged, or behind a prompt that has changed. */
  rowsLeftOut: number;
  /** Stages that had ended, and do not run again. */
  stages: number;
  /** Those that had, and run again, because they follow a prompt that has changed. */
  stagesLeftOut: number;
  /** Why something was left out; null: nothing was. */
  fault: string | null;
}

export interface ResumedRun<Stage extends string, Results = Record<Stage, StageResult>>
  extends ChainRun<Stage, Results> {
  /** Rejects when the run fails before the snapshot is in the pool. */
  readonly resumed: Promise<ResumeReport>;
}
