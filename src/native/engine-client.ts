// SPDX-License-Identifier: Apache-2.0
// One open model of the addon: its jobs as promises, its event channel split by job, its errors typed. A job's
// promise settles after its last event, so that whatever it held is free when the promise is settled.

import { BatonError, ClosedError, errorFromCode, InternalError } from "../errors.js";
import { byEnvironment } from "./environment.js";
import { loadNative } from "./load.js";
import { SnapshotClient } from "./snapshot-client.js";
import type {
  CacheCensus,
  CacheStats,
  ClosingToken,
  EngineStats,
  GrammarHandle,
  JobStats,
  KvSpec,
  MissReason,
  ModelHandle,
  ModelInfo,
  NativeBinding,
  NativeEvent,
  NativeJob,
  NativeLogprobs,
  NativeModelOptions,
  NativeTrainedStart,
  NativeTrainStep,
  NativeTrainUpdate,
  SegmentHandle,
  SegmentInfo,
  SegmentSpec,
  TierMove,
  TrainedHandle,
  TrainedKind,
} from "./types.js";
import { emitWarnings } from "./warnings.js";

export interface JobListeners {
  /** Stops the job within one layer's time; its promise then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Rows of the job's appends done so far. */
  onProgress?: (done: number, total: number) => void;
  /** Rows of an append that a closed segment had; see NativeEvent. */
  onFound?: (append: number, found: number, missed: number, reason: MissReason) => void;
  /** Rows of an append that a tier had. */
  onTier?: (append: number, move: TierMove) => void;
  /** Ids that are certain to be part of the output; `logprobs` if the job asked for them. */
  onTokens?: (ids: Int32Array, logprobs?: NativeLogprobs) => void;
  /** Rows of logits [rows, vocab]. */
  onLogits?: (rows: number, data: Float32Array) => void;
}

export interface JobOutcome {
  reason: "appended" | "closed" | "stop" | "length";
  /** Last generated token that is not a row yet, or -1. */
  pending: number;
  /** Bytes of text before a stop string inside its first token. */
  tail: Uint8Array;
  /** The token that closed the output, if one did. */
  closing?: ClosingToken;
  /** The output is all that its grammar asks for; true without one. */
  accepted: boolean;
  stats: JobStats;
}

/** What a training step gives back; see the event "trained". */
export interface TrainOutcome {
  losses: Float64Array;
  gradients: Float32Array[];
  rowsComputed: number;
  totalMs: number;
}

interface RunningJob {
  listeners: JobListeners;
  /** With the job's last event. */
  resolve: (event: LastEvent) => void;
  reject: (error: unknown) => void;
  /** What a listener threw: the job is stopped, and its owner hears this when the job has ended. */
  thrown?: { error: unknown };
}

type JobEvent = Exclude<NativeEvent, { type: "load" }>;
type LastEvent = Extract<NativeEvent, { type: "done" | "trained" | "updated" }>;

/** Clients with a job in flight: whoever awaits the job need not hold its model. */
const busy = new Set<EngineClient>();

export class EngineClient {
  readonly snapshots: SnapshotClient;
  readonly #native: NativeBinding;
  readonly #label: string;
  readonly #jobs = new Map<number, RunningJob>();
  #handle: ModelHandle | null = null;
  /** While the model is opened. */
  #onLoad: ((done: number, total: number) => void) | null = null;
  #closing: Promise<void> | null = null;

  private constructor(native: NativeBinding, label: string) {
    this.#native = native;
    this.#label = label;
    this.snapshots = new SnapshotClient(native, () => this.#model());
  }

  /**
   * `label` names the model in messages. `onLoad` hears how many bytes of the file need nothing more, of all. Rejects
   * with the signal's reason when it is aborted while loading, and with what `onLoad` throws.
   */
  static async open(
    path: string,
    label: string,
    options: NativeModelOptions,
    signal?: AbortSignal,
    onLoad?: (done: number, total: number) => void,
  ): Promise<EngineClient> {
    signal?.throwIfAborted();
    const native = loadNative();
    const client = new EngineClient(native, label);
    // The addon holds the callback for as long as the model is open; weak, so that a forgotten model is freed.
    const weak = new WeakRef(client);
    const cancel = new Int32Array(new ArrayBuffer(4));
    const onAbort = () => Atomics.store(cancel, 0, 1);
    signal?.addEventListener("abort", onAbort, { once: true });
    let thrown: { error: unknown } | undefined;
    client.#onLoad = (done, total) => {
      if (signal?.aborted || thrown !== undefined) return;
      try {
        onLoad?.(done, total);
      } catch (error) {
        thrown = { error };
        onAbort();
      }
    };
    try {
      const given = { ...byEnvironment(options), ...options };
      client.#handle = await native.openModel(path, given, cancel, (events) => {
        const open = weak.deref();
        if (open !== undefined) open.#dispatch(events);
      });
    } catch (error) {
      if (thrown !== undefined) throw thrown.error;
      if (signal?.aborted) throw signal.reason;
      throw error;
    } finally {
      client.#onLoad = null;
      signal?.removeEventListener("abort", onAbort);
      emitWarnings(native);
    }
    if (thrown === undefined && signal?.aborted !== true) return client;
    await client.close();
    throw thrown === undefined ? signal?.reason : thrown.error;
  }

  get closed(): boolean {
    return this.#closing !== null;
  }

  /** Throws ClosedError once close() was called. */
  #model(): ModelHandle {
    if (this.#handle !== null && this.#closing === null) return this.#handle;
    throw new ClosedError(
      `Model "${this.#label}" is closed. Load it again, or close it after its last use.`,
      {
        facts: { model: this.#label },
      },
    );
  }

  info(): ModelInfo {
    return this.#native.modelInfo(this.#model());
  }

  stats(): CacheStats {
    return this.#native.cacheStats(this.#model());
  }

  engineStats(): EngineStats {
    return this.#native.engineStats(this.#model());
  }

  census(): CacheCensus {
    return this.#native.cacheCensus(this.#model());
  }

  /** Rows [ids, hidden] as tokens enter the first layer. Throws OPTION_INVALID for an id that is no token. */
  tokenEmbeddings(ids: Int32Array): Float32Array {
    return this.#native.tokenEmbeddings(this.#model(), ids);
  }

  settleTiers(): Promise<void> {
    return this.#native.settleTiers(this.#model());
  }

  setVocabulary(bytes: Uint8Array, offsets: Uint32Array): void {
    this.#native.setVocabulary(this.#model(), bytes, offsets);
  }

  compileGrammar(kind: "jsonSchema" | "regex", text: string): Promise<GrammarHandle> {
    return this.#native.compileGrammar(this.#model(), kind, text);
  }

  createSegment(spec: SegmentSpec): SegmentHandle {
    return this.#native.createSegment(this.#model(), spec);
  }

  segmentInfo(segment: SegmentHandle): SegmentInfo {
    this.#model();
    return this.#native.segmentInfo(segment);
  }

  exportSegment(segment: SegmentHandle): Promise<Uint8Array> {
    this.#model();
    return this.#native.exportSegment(segment);
  }

  importSegment(spec: KvSpec, bytes: Uint8Array): Promise<SegmentHandle> {
    return this.#native.importSegment(this.#model(), spec, bytes);
  }

  closeSegment(segment: SegmentHandle): void {
    if (!this.closed) this.#native.closeSegment(segment);
  }

  releaseSegment(segment: SegmentHandle, retain?: "none" | "resume", forMs?: number): void {
    if (!this.closed) this.#native.releaseSegment(segment, retain, forMs);
  }

  /** Queues the job. Rejects with the typed error of its failure, or the signal's reason. */
  async run(job: NativeJob, listeners: JobListeners = {}): Promise<JobOutcome> {
    listeners.signal?.throwIfAborted();
    const event = await this.#outcome(this.#native.submit(this.#model(), job), listeners);
    if (event.type !== "done") throw new InternalError(`A job of rows ended with the event "${event.type}".`);
    const { reason, pending, tail, closing, accepted, stats } = event;
    return { reason, pending, tail, accepted, stats, ...(closing && { closing }) };
  }

  /** Queues a training step; rejects as `run` does. */
  async train(step: NativeTrainStep, signal?: AbortSignal): Promise<TrainOutcome> {
    signal?.throwIfAborted();
    const id = this.#native.submitTrainStep(this.#model(), step);
    const event = await this.#outcome(id, signal === undefined ? {} : { signal });
    if (event.type !== "trained") throw new InternalError(`A training step ended with "${event.type}".`);
    const { losses, gradients, rowsComputed, totalMs } = event;
    return { losses, gradients, rowsComputed, totalMs };
  }

  createTrained(start: NativeTrainedStart): Promise<TrainedHandle> {
    return this.#native.createTrained(this.#model(), start);
  }

  /** Queues an update of trained prompts, which nothing stops. Rejects with the typed error of its failure. */
  async updateTrained(
    prompts: TrainedHandle,
    update: NativeTrainUpdate,
  ): Promise<{ norm: number; finite: boolean }> {
    const event = await this.#outcome(this.#native.submitTrainUpdate(this.#model(), prompts, update), {});
    if (event.type !== "updated") throw new InternalError(`An update ended with "${event.type}".`);
    const { norm, finite } = event;
    return { norm, finite };
  }

  /** Also after close(). */
  readTrained(
    prompts: TrainedHandle,
    kind: TrainedKind,
  ): Promise<{ updates: number; numbers: Float32Array[] }> {
    return this.#native.readTrained(prompts, kind);
  }

  releaseTrained(prompts: TrainedHandle): void {
    this.#native.releaseTrained(prompts);
  }

  /** The last event of a job that was just queued. */
  async #outcome(id: number, listeners: JobListeners): Promise<LastEvent> {
    const { signal } = listeners;
    const onAbort = () => {
      if (this.#handle !== null && !this.closed) this.#native.cancelJob(this.#handle, id);
    };
    try {
      return await new Promise<LastEvent>((resolve, reject) => {
        this.#jobs.set(id, { listeners, resolve, reject });
        busy.add(this);
        signal?.addEventListener("abort", onAbort, { once: true });
      });
    } catch (error) {
      if (signal?.aborted && BatonError.isInstance(error) && error.code === "ABORTED") throw signal.reason;
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#jobs.delete(id);
      if (this.#jobs.size === 0) busy.delete(this);
    }
  }

  #dispatch(events: NativeEvent[]): void {
    for (const event of events) {
      if (event.type === "load") {
        this.#onLoad?.(event.done, event.total); // late ones are nobody's: the model is open
        continue;
      }
      const job = this.#jobs.get(event.job);
      if (job === undefined) continue;
      try {
        deliver(job, event);
      } catch (error) {
        job.thrown ??= { error };
        if (this.#handle !== null && !this.closed) this.#native.cancelJob(this.#handle, event.job);
      }
    }
  }

  /** Fails what is running with ClosedError and frees the model. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#handle !== null) await this.#native.closeModel(this.#handle);
    emitWarnings(this.#native);
    for (const job of this.#jobs.values()) {
      job.reject(
        new ClosedError(
          `Model "${this.#label}" was closed while a job was running. Await runs before closing it.`,
          {
            facts: { model: this.#label },
          },
        ),
      );
    }
  }
}

function deliver(job: RunningJob, event: JobEvent): void {
  const { listeners, thrown } = job;
  if (thrown !== undefined) {
    const isLast = ["done", "trained", "updated", "failed"].includes(event.type);
    if (isLast) job.reject(thrown.error);
    return;
  }
  switch (event.type) {
    case "progress":
      listeners.onProgress?.(event.done, event.total);
      break;
    case "found":
      listeners.onFound?.(event.append, event.found, event.missed, event.reason);
      break;
    case "tier": {
      const { append, tier, rows, bytes, restored, restoreMs, recomputeMs, tookMs } = event;
      listeners.onTier?.(append, { tier, rows, bytes, restored, restoreMs, recomputeMs, tookMs });
      break;
    }
    case "tokens":
      listeners.onTokens?.(event.ids, event.logprobs);
      break;
    case "logits":
      listeners.onLogits?.(event.rows, event.data);
      break;
    case "done":
    case "trained":
    case "updated":
      job.resolve(event);
      break;
    case "failed":
      job.reject(errorFromCode(event.code, event.message, { facts: event.facts }));
      break;
  }
}
