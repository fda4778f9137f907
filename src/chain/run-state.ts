// SPDX-License-Identifier: Apache-2.0
// What one run holds: texts, results, and the segments that a later step still reads. Rows are appended lazily: an
// input when the first stage that reads it runs, in that stage's job; the last token of an output in the next job, or
// at once when a `from` function comes first. A segment that no later step reads is released there and then.

import type { PromptLease } from "../cache/prompt-cache.js";
import { promptCacheOf } from "../cache/prompt-cache.js";
import { Segment } from "../cache/segment.js";
import { ChainInvalidError, ContextLimitError, InternalError } from "../errors.js";
import type { Model } from "../model/model.js";
import type { ResolvedPrompt } from "../model/prompt.js";
import type { JobListeners, JobOutcome } from "../native/engine-client.js";
import type { Append, GenerateSpec } from "../native/types.js";
import { frameExtent, placeSegment } from "./frame.js";
import type { Plan, PlannedSegment, SegmentId } from "./plan.js";
import { segmentLabel } from "./plan.js";
import { inputTokens } from "./tokens.js";
import type { ChainEvent, InputResult, Layout, StageResult } from "./types.js";

export interface RunInit {
  model: Model;
  plan: Plan;
  layout: Layout;
  inputs: Readonly<Record<string, string>>;
  signal: AbortSignal;
  emit: (event: ChainEvent) => void;
}

interface Held {
  segment: Segment;
  release: () => void;
}

/** An append that waits for the next job; its segment takes no more rows after it. */
interface Queued {
  id: SegmentId;
  append: Append;
}

export class RunState {
  readonly model: Model;
  readonly plan: Plan;
  readonly layout: Layout;
  readonly signal: AbortSignal;
  readonly emit: (event: ChainEvent) => void;
  /** Resolved prompts by stage. */
  readonly prompts = new Map<string, ResolvedPrompt>();
  readonly #given: Readonly<Record<string, string>>;
  readonly #texts = new Map<string, InputResult>();
  readonly #results = new Map<string, StageResult>();
  readonly #lengths = new Map<SegmentId, number>();
  readonly #written = new Set<SegmentId>();
  readonly #held = new Map<SegmentId, Held>();
  readonly #leases = new Map<string, Promise<PromptLease>>();
  readonly #running = new Set<Promise<unknown>>();
  #queued: Queued[] = [];

  constructor({ model, plan, layout, inputs, signal, emit }: RunInit) {
    this.model = model;
    this.plan = plan;
    this.layout = layout;
    this.signal = signal;
    this.emit = emit;
    this.#given = inputs;
  }

  // ---- texts and results

  givenText(name: string): string {
    return this.#given[name] as string; // checked before the run began
  }

  /** Throws CHAIN_INVALID for a value that is no text or empty. */
  setInput(name: string, text: unknown): void {
    if (typeof text !== "string" || text === "") {
      const value = typeof text === "string" ? "empty" : `of type ${typeof text}`;
      throw new ChainInvalidError(`Input "${name}" is ${value}. Give it a text of at least one token.`, {
        facts: { step: name, value: String(text) },
      });
    }
    this.#texts.set(name, { text });
  }

  /** Everything known so far, by name: what a `from` function gets. */
  results(): Record<string, InputResult | StageResult> {
    return Object.fromEntries([...this.#texts, ...this.#results]);
  }

  stageResults(): Record<string, StageResult> {
    return Object.fromEntries(this.#results);
  }

  setResult(name: string, result: StageResult): void {
    this.#results.set(name, result);
  }

  // ---- segments

  segment(id: SegmentId): PlannedSegment {
    const found = this.plan.segments[id];
    if (found === undefined) throw new InternalError(`Segment ${id} is not in the plan.`);
    return found;
  }

  segmentOf(name: string): PlannedSegment {
    return this.segment(this.plan.idOf.get(name) ?? -1);
  }

  lengthOf = (id: SegmentId): number => {
    const length = this.#lengths.get(id);
    if (length === undefined) throw new InternalError(`The length of segment ${id} is not known yet.`);
    return length;
  };

  isWritten(id: SegmentId): boolean {
    return this.#written.has(id);
  }

  /** Frame position of the first row of `id`; everything before it must be written. */
  startOf(id: SegmentId): number {
    return placeSegment(this.plan, this.layout, id, this.lengthOf).start;
  }

  setLength(id: SegmentId, rows: number): void {
    this.#lengths.set(id, rows);
  }

  /** Rows that the context still holds for `id` after its `rows` rows. Throws CONTEXT_LIMIT if `least` do not fit. */
  contextLeft(id: SegmentId, rows: number, least: number): number {
    const limit = this.model.info.contextLength;
    const extent = frameExtent(this.plan, this.layout, id, this.lengthOf, rows);
    if (extent + least <= limit) return limit - extent;
    const segment = this.segment(id);
    const parts = segment.reads.map((one) => `${segmentLabel(this.segment(one))} ${this.lengthOf(one)}`);
    throw new ContextLimitError(
      `The frame of "${segment.name}" needs ${extent + least} positions (${[...parts, `own rows ${rows + least}`].join(", ")}), ` +
        `and the model has ${limit}. Shorten the inputs, read less, or take a model with a longer context.`,
      { facts: { step: segment.name, needed: extent + least, limit } },
    );
  }

  setPrompt(stage: string, prompt: ResolvedPrompt): void {
    this.prompts.set(stage, prompt);
    const id = this.plan.promptOf.get(stage);
    if (id !== undefined) this.setLength(id, prompt.count);
  }

  /** Asks for the KV of every prompt, so that it is there when its stage begins. Lengths must be set. */
  startPrompts(): void {
    for (const [stage, prompt] of this.prompts) {
      const id = this.plan.promptOf.get(stage);
      if (id === undefined) continue;
      const lease = promptCacheOf(this.model).acquire(prompt, this.startOf(id));
      lease.catch(() => {}); // heard by holdPrompt
      this.#leases.set(stage, lease);
    }
  }

  /** Takes over the stage's prompt until the stage ends. Returns its rows if this run computed them, else 0. */
  async holdPrompt(stage: string): Promise<number> {
    const leasing = this.#leases.get(stage);
    const id = this.plan.promptOf.get(stage);
    if (leasing === undefined || id === undefined) return 0;
    const lease = await this.race(leasing);
    this.#leases.delete(stage);
    this.#written.add(id);
    this.#held.set(id, lease);
    return lease.computed ? lease.rows : 0;
  }

  /** Creates the segment in its frame; what it reads must be written or queued. */
  open(id: SegmentId): Segment {
    const { start, reads } = placeSegment(this.plan, this.layout, id, this.lengthOf);
    const views = reads.map((one) => {
      const held = this.#held.get(one.id);
      if (held === undefined)
        throw new InternalError(`Segment ${one.id} was released before segment ${id} read it.`);
      return { segment: held.segment, rows: this.lengthOf(one.id), shift: one.shift };
    });
    const segment = new Segment(this.model.engine, { kind: this.segment(id).kind, start, reads: views });
    this.#written.add(id);
    this.#held.set(id, { segment, release: () => segment.release() });
    return segment;
  }

  /** Queues the rows of an input, and of the inputs that it reads, unless they are there. */
  ensureInput(id: SegmentId): void {
    if (this.isWritten(id)) return;
    const { name, reads } = this.segment(id);
    for (const one of reads) this.ensureInput(one);
    const text = this.#texts.get(name);
    const description = this.plan.inputs.get(name);
    if (text === undefined || description === undefined)
      throw new InternalError(`Input "${name}" has no text yet.`);
    const tokens = inputTokens(this.model.tokenizer, name, description, text.text, this.startOf(id) === 0);
    this.setLength(id, tokens.length);
    this.contextLeft(id, tokens.length, 0);
    this.enqueue(id, this.open(id).appendTokens(tokens));
  }

  enqueue(id: SegmentId, append: Append): void {
    this.#queued.push({ id, append });
  }

  /** Rows of `id` whose KV is there: without those that wait for the next job. */
  computedRows(id: SegmentId): number {
    const owed = this.#queued.filter((one) => one.id === id);
    return owed.reduce((rows, one) => rows - (one.append.tokens?.length ?? 0), this.lengthOf(id));
  }

  /** Bytes of KV that the next job takes at most, with `rows` rows of its last segment. */
  bytesFor(rows: number): number {
    const { blockRows, blockBytes } = this.model.info;
    const all = [rows, ...this.#queued.map((one) => one.append.tokens?.length ?? 0)];
    return all.reduce((sum, one) => sum + Math.ceil(one / blockRows), 0) * blockBytes;
  }

  /** Bytes of KV of the given segments. */
  bytesOf(ids: readonly SegmentId[]): number {
    return ids.reduce((sum, id) => sum + (this.#held.get(id)?.segment.info().bytes ?? 0), 0);
  }

  // ---- jobs

  /** Runs what is queued, then `last` with generation, as one job; queued segments are closed when it ends. */
  async job(
    last: Append | null,
    generate: GenerateSpec | null,
    listeners: JobListeners,
  ): Promise<JobOutcome> {
    const queued = this.#queued;
    this.#queued = [];
    const appends = queued.map((one) => one.append);
    if (last !== null) appends.push(last);
    const job = { appends, logits: "none" as const, ...(generate === null ? {} : { generate }) };
    const running = this.model.engine.run(job, { ...listeners, signal: this.signal });
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
      for (const { id } of queued) this.#held.get(id)?.segment.close();
    }
  }

  /** Computes what is queued now; nothing queued: nothing happens. */
  async flush(): Promise<void> {
    if (this.#queued.length > 0) await this.job(null, null, {});
  }

  /** The promise's value, or the signal's reason as soon as it is aborted. */
  async race<T>(work: Promise<T>): Promise<T> {
    const { signal } = this;
    let onAbort = () => {};
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(signal.reason);
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort, { once: true });
    });
    work.catch(() => {}); // the loser of the race may still fail
    try {
      return await Promise.race([work, aborted]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  // ---- release

  /** Segments that a step which has not run yet reads, directly or through an input still to be written. */
  #stillRead(): Set<SegmentId> {
    const read = new Set<SegmentId>();
    for (const { id, kind, reads } of [...this.plan.segments].reverse()) {
      const willBeWritten = !this.#written.has(id) && (kind === "output" || read.has(id));
      if (willBeWritten) for (const one of reads) read.add(one);
    }
    return read;
  }

  isStillRead(id: SegmentId): boolean {
    return this.#stillRead().has(id);
  }

  /** Lets go of every segment that nobody reads any more. */
  releaseUnread(): void {
    const read = this.#stillRead();
    const owed = new Set(this.#queued.map((one) => one.id));
    for (const [id, held] of this.#held) {
      if (read.has(id) || owed.has(id)) continue;
      this.#held.delete(id);
      held.release();
    }
  }

  /** Waits for jobs that still run, then lets go of everything. */
  async releaseAll(): Promise<void> {
    await Promise.allSettled(this.#running);
    this.#queued = [];
    for (const held of this.#held.values()) held.release();
    this.#held.clear();
    for (const lease of this.#leases.values()) lease.then((one) => one.release()).catch(() => {});
    this.#leases.clear();
  }
}
