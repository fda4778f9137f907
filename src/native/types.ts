// SPDX-License-Identifier: Apache-2.0
// The seam between TypeScript and the addon: every value that crosses it, and nothing else.
//
// TypeScript validates and explains; the addon re-checks only what protects memory. Handles are opaque and
// type-tagged: a wrong one is a thrown error. Placement (frame positions, shifts) is decided in TypeScript from
// the chain's definition and handed over as plain numbers; the addon turns it into KV intervals.

import type {
  CacheCensus,
  CachePolicy,
  CacheStats,
  MissReason,
  RestoreMode,
  TierMove,
  TierName,
} from "./cache-types.js";
import type { CudaReport, DoctorReport } from "./doctor-types.js";
import type { Device, KvType, ModelFileInfo, ModelInfo } from "./model-types.js";
import type { NativeSnapshots } from "./snapshot-types.js";
import type {
  NativeTrainedStart,
  NativeTrainStep,
  NativeTrainUpdate,
  TrainedHandle,
  TrainedKind,
} from "./train-types.js";

export type * from "./cache-types.js";
export type * from "./doctor-types.js";
export type * from "./model-types.js";
export type * from "./snapshot-types.js";
export type * from "./train-types.js";

declare const modelTag: unique symbol;
declare const segmentTag: unique symbol;
declare const grammarTag: unique symbol;

/** A loaded model with its cache pool and its engine thread. */
export interface ModelHandle {
  readonly [modelTag]: true;
}

/** What outputs of one model may be. */
export interface GrammarHandle {
  readonly [grammarTag]: true;
}

/** An append-only run of rows whose KV lives in the pool of one model. */
export interface SegmentHandle {
  readonly [segmentTag]: true;
}

export type SegmentKind = "prompt" | "input" | "output";

export interface NativeModelOptions {
  /** Default: cpu. */
  device?: Device;
  /** Worker threads of the engine, at least 1. */
  threads: number;
  /** Byte budget of the KV pool. */
  cacheBytes: number;
  /** Of it, what may be kept for content that may come again; 0: nothing is kept, and nothing is found. */
  indexBytes: number;
  /** By what kept blocks are given up, in the pool and in tiers. Default: lru. */
  cachePolicy?: CachePolicy;
  /** Where blocks go that nobody holds, nearest first. Default: nowhere. */
  cacheTiers?: { name: TierName; bytes: number; folder?: string }[];
  /** Whether rows that a tier has are read back. Default: when that is faster than computing them. */
  restore?: RestoreMode;
  /** Number format of stored K and V. */
  kvType: KvType;
  /**
   * `int8`: activations of quantised weights are quantised per block of 32, those of BF16 weights rounded to bfloat16
   * where there are kernels for it; `float32`: weights are dequantised.
   */
  activations: "int8" | "float32";
  /** Same bits whatever the batch, the chunking and the thread count. */
  batchInvariant: boolean;
  /** Most rows of one forward; longer prefills are cut into chunks of this size. */
  maxBatchRows: number;
  /** A job fails with NOT_FINITE at the first result of its rows that is no finite number; CPU only. Default: false. */
  watchNumbers?: boolean;
  /** File of Chrome trace events; one for all models of a process. Default: none. */
  trace?: string;
  /** `auto`: next tokens of outputs are guessed where that is expected to pay. For jobs that do not say. */
  drafting: Drafting;
}

/** Whether next tokens are guessed and checked several at a time. It decides speed, never tokens. */
export type Drafting = "auto" | "off";

/** What the engine has done since the model was opened. */
export interface EngineStats {
  /** Forwards. */
  turns: number;
  /** Rows of generated tokens. */
  decodeRows: number;
  /** Rows of appends. */
  prefillRows: number;
  /** Most jobs that decoded in one forward. */
  mostDecodeRows: number;
  /** Guesses that were computed as rows, and those of them that held: they are among `decodeRows`. */
  draftedTokens: number;
  acceptedTokens: number;
  /** Jobs submitted and not finished, now. */
  jobs: number;
  /** Of appends of 16 rows and more, lately; 0: there was none. */
  prefillRowsPerSecond: number;
}

export interface SegmentRead {
  segment: SegmentHandle;
  /** Rows of it that are read: its first `rows` rows. */
  rows: number;
  /** Reader's position minus writer's position of the same row. */
  shift: number;
}

export interface SegmentSpec {
  kind: SegmentKind;
  /** Position of the segment's row 0 in its own frame (negative for a prompt). */
  start: number;
  /** What its rows read besides themselves, in view order. */
  reads: SegmentRead[];
  /** Equal rows under another salt are not found by their content. Absent or empty: none. */
  salt?: string;
}

/** What exported KV becomes. */
export interface KvSpec {
  kind: SegmentKind;
  /** Position of row 0 in its frame, as in the segment that was exported. */
  start: number;
  /** Rows of the segment that was exported. */
  rows: number;
  name: string;
}

export interface SegmentInfo {
  rows: number;
  blocks: number;
  bytes: number;
  closed: boolean;
  /** SHA-256, hex: model, KV format, frame and content of all rows; empty while a job writes them. */
  identity: string;
}

/** Rows to append to one segment: token ids, or embedding rows [count, hidden] in row-major order. */
export interface Append {
  segment: SegmentHandle;
  tokens?: Int32Array;
  rows?: Float32Array;
  /** No rows after these: the segment is closed when the job is done. It must not generate. */
  close?: boolean;
}

export interface SamplerOptions {
  /** 0 is greedy. */
  temperature: number;
  /** 0 switches it off. */
  topK: number;
  /** 1 switches it off. */
  topP: number;
  /** 0 switches it off. */
  minP: number;
  /** 1 switches it off. Applied to tokens of this output so far. */
  repetitionPenalty: number;
  /** Subtracted once from the logits of tokens of this output so far; absent: 0. */
  presencePenalty?: number;
  /** Subtracted once per occurrence in this output so far; absent: 0. */
  frequencyPenalty?: number;
  /** Added to the logits of distinct token ids, both [n]; -Infinity bans a token. Absent: none. */
  logitBias?: { ids: Int32Array; values: Float32Array };
  seed: number;
}

export interface GenerateSpec {
  sampler: SamplerOptions;
  /** Token ids that end the output; none of them becomes a row. */
  closers: Int32Array;
  /** UTF-8 stop strings. */
  stops: Uint8Array[];
  /** At least 1. */
  maxTokens: number;
  /** Log-probabilities of every token and of the n likeliest in its place, 0 to 20; absent: none are computed. */
  logprobs?: number;
  /** Absent: as the model was opened. */
  drafting?: Drafting;
  /** Tokens that it does not allow never occur, closers are allowed where it lets the output end. Absent: anything goes. */
  grammar?: GrammarHandle;
  /**
   * The first tokens of the output, whatever the sampler chooses; a closer among them closes. All else is done as ever,
   * so that forced texts cost what generated ones cost. For comparisons; nothing public leads here.
   */
  forced?: Int32Array;
  /**
   * The first tokens of an output that goes on, already the last rows of its segment (those of this job's last append,
   * of at least one, included): they count and penalise as ever and are not told again.
   */
  prior?: Int32Array;
}

/** Log-softmax of the raw logits, before the sampler changes anything; rows as the ids they come with. */
export interface NativeLogprobs {
  /** [ids], of the tokens themselves. */
  chosen: Float32Array;
  /** [ids, n], likeliest first. */
  topIds: Int32Array;
  /** [ids, n] */
  topLogprobs: Float32Array;
}

/** The token that closed an output: no row, and not among its ids; its figures if the job asked for them. */
export type ClosingToken = { id: number; logprobs?: NativeLogprobs };

/**
 * Appends in order (later ones may read earlier ones), then, on the last one's segment, generation. With generation
 * the last append may hold no rows (a stage with own inputs and no opener): the first token is then sampled from the
 * logits of the last row that the job computes.
 */
export interface NativeJob {
  appends: Append[];
  generate?: GenerateSpec;
  /** Rows of logits to hand out: of the last appended row, or of every appended row. */
  logits: "none" | "last" | "all";
}

export interface JobStats {
  /** Rows that went through a forward for this job; of drafted ones, those that were accepted. */
  rowsComputed: number;
  /** Rows of the appends that did not, because they were found by their content. */
  rowsFound: number;
  /** Tokens generated, closers and dropped ones not counted. */
  tokens: number;
  /** Guesses that were computed as rows, and those of them that held. */
  draftedTokens: number;
  acceptedTokens: number;
  /** Milliseconds from submit to the first sampled token (or to the last append, without generation). */
  firstTokenMs: number;
  /** Milliseconds from submit to done. */
  totalMs: number;
  /** Milliseconds spent waiting before the first forward. */
  queueMs: number;
  /** Forwards that had rows of this job. */
  turns: number;
  /** Forwards between its start and its end that had none. */
  turnsSkipped: number;
}

export type NativeEvent =
  /** While the model is opened: bytes of its file whose weights need nothing more, of all. Comes for job 0 alone. */
  | { job: 0; type: "load"; done: number; total: number }
  | { job: number; type: "progress"; done: number; total: number }
  /** `logprobs`: if the job asked for them. */
  | { job: number; type: "tokens"; ids: Int32Array; logprobs?: NativeLogprobs }
  /** Rows of an append found by their content; comes for appends that begin a segment, before any is computed. */
  | { job: number; type: "found"; append: number; found: number; missed: number; reason: MissReason }
  /** Rows of an append that the pool has not and a tier has; comes when the job begins. */
  | ({ job: number; type: "tier"; append: number } & TierMove)
  | { job: number; type: "logits"; rows: number; data: Float32Array }
  | {
      job: number;
      type: "done";
      /**
       * appended: no generation was asked for; closed: `closing`, or a grammar that lets nothing follow; stop: a stop
       * string; length: maxTokens.
       */
      reason: "appended" | "closed" | "stop" | "length";
      /** Last generated token that is not a row yet, or -1. */
      pending: number;
      /** Bytes of text before a stop string inside its first token (empty otherwise). */
      tail: Uint8Array;
      closing?: ClosingToken;
      /** The output is all that its grammar asks for; true without one. */
      accepted: boolean;
      stats: JobStats;
    }
  /** A training step is over; its last event. */
  | {
      job: number;
      type: "trained";
      /** [items] Sum of the cross entropies (natural log) of the item's scored rows. */
      losses: Float64Array;
      /** By prompt [n, hidden]; none if not asked for. */
      gradients: Float32Array[];
      /** Rows that went through a forward: live ones of all items, and the prompts' once. */
      rowsComputed: number;
      totalMs: number;
    }
  /** An update of trained prompts is over; its last event. */
  | {
      job: number;
      type: "updated";
      /** Length of the gradient before it is shortened; where it is no finite number, nothing was changed. */
      norm: number;
      /** All values are finite numbers. */
      finite: boolean;
    }
  | { job: number; type: "failed"; code: string; message: string; facts: Record<string, string | number> };

/** Something that failed nothing, to be told to the user; codes: native/base/warnings.h. */
export interface NativeWarning {
  code: string;
  message: string;
  facts: Record<string, string | number>;
}

/** What `native/binding` exports. Errors thrown carry `code` and `facts` and become typed in `loadNative`. */
export interface NativeBinding extends NativeSnapshots {
  readonly apiVersion: number;
  doctor(): DoctorReport;
  cudaReport(): CudaReport;
  /** What this process has to say since the last call, from whichever environment. */
  takeWarnings(): NativeWarning[];
  /** Threads that CPU, affinity and cgroup quota allow. */
  availableThreads(): number;
  /** Bytes of memory that this process may still take (cgroup limit respected). */
  availableMemory(): number;
  /** Parses the header only. */
  readModelFile(path: string): ModelFileInfo;
  /**
   * Maps, checks and prepares a model off the main thread. `cancel[0] !== 0` (Atomics.store) stops it.
   * `onEvents` receives coalesced batches in order, for as long as the model is open.
   */
  openModel(
    path: string,
    options: NativeModelOptions,
    cancel: Int32Array,
    onEvents: (events: NativeEvent[]) => void,
  ): Promise<ModelHandle>;
  modelInfo(model: ModelHandle): ModelInfo;
  /** Rows [ids, hidden] of tokens as they enter the first layer: what a soft row takes the place of. */
  tokenEmbeddings(model: ModelHandle, ids: Int32Array): Float32Array;
  /** Bytes of every token's text, concatenated; token t is bytes[offsets[t] .. offsets[t + 1]). For stop strings. */
  setVocabulary(model: ModelHandle, bytes: Uint8Array, offsets: Uint32Array): void;
  cacheStats(model: ModelHandle): CacheStats;
  /** Resolves when nothing is left to move between the pool and the tiers. */
  settleTiers(model: ModelHandle): Promise<void>;
  engineStats(model: ModelHandle): EngineStats;
  cacheCensus(model: ModelHandle): CacheCensus;
  /** Of a JSON Schema or a regular expression. Rejects with CONSTRAINT_INVALID, CONSTRAINT_UNAVAILABLE. */
  compileGrammar(model: ModelHandle, kind: "jsonSchema" | "regex", text: string): Promise<GrammarHandle>;
  createSegment(model: ModelHandle, spec: SegmentSpec): SegmentHandle;
  segmentInfo(segment: SegmentHandle): SegmentInfo;
  /** No more rows; what it read is let go. Idempotent. */
  closeSegment(segment: SegmentHandle): void;
  /**
   * Gives up this handle; the blocks go when no open reader or running job holds them. Idempotent. `retain`: what then
   * becomes of them instead of the usual: `none`: they are not kept; `resume`: they are the last to go, for `forMs`.
   */
  releaseSegment(segment: SegmentHandle, retain?: "none" | "resume", forMs?: number): void;
  /** KV of a closed segment, to be kept outside of the pool: its blocks in order, `bytes` of its info. */
  exportSegment(segment: SegmentHandle): Promise<Uint8Array>;
  /**
   * A closed segment with KV that `exportSegment` gave under the same model, KV format and activations. `name` stands
   * for its content in its identity; it is not found by content.
   */
  importSegment(model: ModelHandle, spec: KvSpec, bytes: Uint8Array): Promise<SegmentHandle>;
  /** Queues a job; its events carry the returned id. */
  submit(model: ModelHandle, job: NativeJob): number;
  /** Queues a training step; "trained" or "failed" is its only event. Serving goes on between two steps. */
  submitTrainStep(model: ModelHandle, step: NativeTrainStep): number;
  /** Puts what is to be trained where the model computes. Rejects with OUT_OF_MEMORY, DEVICE_UNAVAILABLE. */
  createTrained(model: ModelHandle, start: NativeTrainedStart): Promise<TrainedHandle>;
  /** By prompt, and the updates after which they are so. Also after the model was closed, not of a lost device. */
  readTrained(
    prompts: TrainedHandle,
    kind: TrainedKind,
  ): Promise<{ updates: number; numbers: Float32Array[] }>;
  /** Queues an update; "updated" or "failed" is its only event. */
  submitTrainUpdate(model: ModelHandle, prompts: TrainedHandle, update: NativeTrainUpdate): number;
  /** Frees them when no job holds them any more. Idempotent. */
  releaseTrained(prompts: TrainedHandle): void;
  /** The job fails with code ABORTED within one layer's time. Unknown or finished ids are ignored. */
  cancelJob(model: ModelHandle, job: number): void;
  /** Fails running jobs with code CLOSED, stops the engine thread, unmaps. Idempotent. */
  closeModel(model: ModelHandle): Promise<void>;
}
