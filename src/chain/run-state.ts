// SPDX-License-Identifier: Apache-2.0
// What one run holds: the plan as far as it is decided, the texts of inputs, and the segments that a later step still
// reads. A segment that no step reads any more, however the open groups turn out, is released there and then.

import type { HandleOptions } from "../cache/handle.js";
import type { PromptLease } from "../cache/prompt-cache.js";
import { promptCacheOf } from "../cache/prompt-cache.js";
import { Segment } from "../cache/segment.js";
import { ChainInvalidError, ContextLimitError, InternalError } from "../errors.js";
import type { Model } from "../model/model.js";
import type { ResolvedPrompt } from "../model/prompt.js";
import { frameExtent, placeSegment } from "./frame.js";
import { Lane } from "./lane.js";
import type { Plan, PlannedSegment, SegmentId } from "./plan.js";
import { planChain } from "./plan.js";
import { Room } from "./room.js";
import type { Entry } from "./run-record.js";
import { RunRecord } from "./run-record.js";
import type { RestoredRun } from "./run-snapshot.js";
import type { Step } from "./steps/step.js";
import { inputTokens } from "./tokens.js";
import type { ChainEvent, Layout, RunOptions } from "./types.js";

export interface RunInit {
  model: Model;
  steps: readonly Step[];
  layout: Layout;
  /** Of everything that is written, except prompts. */
  cache: HandleOptions;
  signal: AbortSignal;
  emit: (event: ChainEvent) => void;
  onProgress?: RunOptions["onProgress"];
}

interface Held {
  segment: Segment;
  release: () => void;
}

export class RunState {
  readonly model: Model;
  readonly layout: Layout;
  readonly signal: AbortSignal;
  readonly emit: (event: ChainEvent) => void;
  readonly onProgress: RunOptions["onProgress"];
  /** Resolved prompts by the site of their stage. */
  readonly prompts = new Map<string, ResolvedPrompt>();
  /** What the run has learned. */
  readonly record = new RunRecord();
  /** Where jobs of different lanes wait for bytes. */
  readonly room: Room;
  /** The line of execution that the chain's own steps use. */
  readonly lane: Lane;
  readonly #cache: HandleOptions;
  readonly #steps: readonly Step[];
  readonly #counts = new Map<string, number>();
  #plan: Plan;
  readonly #texts = new Map<string, string>();
  readonly #tokens = new Map<SegmentId, Int32Array>();
  readonly #lengths = new Map<SegmentId, number>();
  readonly #written = new Set<SegmentId>();
  /** Outputs that are complete. */
  readonly #ended = new Set<SegmentId>();
  readonly #held = new Map<SegmentId, Held>();
  /** Segments with rows that wait for a job, or are in one: what they read is needed until then. */
  readonly #owing = new Set<SegmentId>();
  #restored: RestoredRun | null = null;
  readonly #leases = new Map<SegmentId, Promise<PromptLease>>();
  readonly #prompted = new Map<SegmentId, Promise<number>>();
  readonly #lanes = new Set<Lane>();

  constructor({ model, steps, layout, cache, signal, emit, onProgress }: RunInit) {
    this.model = model;
    this.layout = layout;
    this.signal = signal;
    this.emit = emit;
    this.onProgress = onProgress;
    this.#cache = cache;
    this.#steps = steps;
    this.#plan = planChain(steps);
    this.room = new Room(model, () => this.#bytesInWriting());
    this.lane = this.openLane(signal);
  }

  // ---- the plan

  get plan(): Plan {
    return this.#plan;
  }

  /** From here on the group `name` runs `count` times: not, once, so many rounds or branches. */
  decide(name: string, count: number): void {
    if (this.#counts.get(name) === count) return;
    this.#counts.set(name, count);
    this.#plan = planChain(this.#steps, { counts: this.#counts });
  }

  segment(id: SegmentId): PlannedSegment {
    const found = this.#plan.byId.get(id);
    if (found === undefined) throw new InternalError(`Segment "${id}" is not in the plan.`);
    return found;
  }

  // ---- texts

  /** Throws CHAIN_INVALID for a value that is no text or empty. `name`: the input among those of the whole chain. */
  setText(name: string, text: unknown): asserts text is string {
    if (typeof text !== "string" || text === "") {
      const value = typeof text === "string" ? "empty" : `of type ${typeof text}`;
      throw new ChainInvalidError(`Input "${name}" is ${value}. Give it a text of at least one token.`, {
        facts: { step: name, value: String(text) },
      });
    }
    this.#texts.set(name, text);
  }

  /** Tokens of an input; everything before it in its frame must have a length, a guess will do. */
  tokensOf(id: SegmentId, lengthOf = this.lengthOf): Int32Array {
    const found = this.#tokens.get(id);
    if (found !== undefined) return found;
    const { site, value } = this.segment(id);
    const text = this.#texts.get(value ?? "");
    const description = this.#plan.inputs.get(site);
    if (text === undefined || description === undefined)
      throw new InternalError(`Segment "${id}" has no text yet.`);
    const { start } = placeSegment(this.#plan, this.layout, id, lengthOf);
    const tokens = inputTokens(this.model.tokenizer, description.name, description, text, start === 0);
    this.#tokens.set(id, tokens);
    return tokens;
  }

  // ---- segments

  lengthOf = (id: SegmentId): number => this.#lengths.get(id) ?? this.tokensOf(id).length;

  setLength(id: SegmentId, rows: number): void {
    this.#lengths.set(id, rows);
  }

  isWritten(id: SegmentId): boolean {
    return this.#written.has(id);
  }

  /** Frame position of the first row of `id`. */
  startOf(id: SegmentId): number {
    return placeSegment(this.#plan, this.layout, id, this.lengthOf).start;
  }

  /** Rows that the context still holds for `id` after its `rows` rows. Throws CONTEXT_LIMIT if `least` do not fit. */
  contextLeft(id: SegmentId, rows: number, least: number, lengthOf = this.lengthOf): number {
    const limit = this.model.info.contextLength;
    const extent = frameExtent(this.#plan, this.layout, id, lengthOf, rows);
    const needed = extent + least;
    if (needed <= limit) return limit - extent;
    const { name, reads } = this.segment(id);
    const parts = reads.map((one) => `${one} ${lengthOf(one)}`);
    throw new ContextLimitError(
      `The frame of "${name}" needs ${needed} positions (${[...parts, `own rows ${rows + least}`].join(", ")}), ` +
        `${needed - limit} more than the model's ${limit}. ` +
        "Shorten the inputs, read less, or take a model with a longer context.",
      { facts: { step: name, needed, limit, over: needed - limit } },
    );
  }

  /**
   * Throws CONTEXT_LIMIT for a frame that cannot fit, with a row at least for everything that is not known yet. Steps
   * in groups are checked when they run: they may never.
   */
  checkFrames(): void {
    const least = (id: SegmentId): number => {
      const { value } = this.segment(id);
      if (this.#lengths.has(id)) return this.lengthOf(id);
      return value !== undefined && this.#texts.has(value) ? this.tokensOf(id, least).length : 1;
    };
    const isRun = ({ kind, name, site }: PlannedSegment) =>
      kind === "output" && name === site && !name.includes(".");
    const needed = new Set<SegmentId>();
    for (const segment of [...this.#plan.segments].reverse()) {
      if (!isRun(segment) && !needed.has(segment.id)) continue;
      for (const one of segment.reads) needed.add(one);
    }
    for (const segment of this.#plan.segments) {
      if (isRun(segment)) this.contextLeft(segment.id, 0, 1, least);
      else if (segment.kind === "input" && needed.has(segment.id))
        this.contextLeft(segment.id, least(segment.id), 0, least);
    }
  }

  /** Creates the segment in its frame; what it reads must be written or queued. */
  open(id: SegmentId): Segment {
    const { start, reads } = placeSegment(this.#plan, this.layout, id, this.lengthOf);
    const views = reads.map((one) => {
      const held = this.#held.get(one.id);
      if (held === undefined)
        throw new InternalError(`Segment "${one.id}" was released before "${id}" read it.`);
      return { segment: held.segment, rows: this.lengthOf(one.id), shift: one.shift };
    });
    const { kind } = this.segment(id);
    const begun = this.restoredRows(id) > 0 ? this.#restored : null;
    const init = { kind, start, reads: views, ...this.#cache };
    const segment = begun?.take(id, { ...init, close: false }) ?? new Segment(this.model.engine, init);
    this.#hold(id, segment);
    return segment;
  }

  #hold(id: SegmentId, segment: Segment): void {
    this.#written.add(id);
    this.#held.set(id, { segment, release: () => segment.release() });
  }

  /** Rows of the segment are queued. */
  owe(id: SegmentId): void {
    this.#owing.add(id);
  }

  /** They are computed, or nobody needs them: it takes no more. */
  settle(id: SegmentId): void {
    this.#owing.delete(id);
    this.#held.get(id)?.segment.close();
  }

  /** The output has all its rows, or its last one is owed to the next job. */
  end(id: SegmentId): void {
    this.#ended.add(id);
  }

  /** Bytes of KV of the given segments. */
  bytesOf(ids: readonly SegmentId[]): number {
    return ids.reduce((sum, id) => sum + (this.#held.get(id)?.segment.info().bytes ?? 0), 0);
  }

  /** Bytes of outputs that are being written. */
  #bytesInWriting(): number {
    return this.bytesOf([...this.#held.keys()].filter((id) => this.#isInWriting(id)));
  }

  #isInWriting(id: SegmentId): boolean {
    return this.#plan.byId.get(id)?.kind === "output" && !this.#ended.has(id);
  }

  // ---- prompts

  /** `stage`: the site of the stage. */
  setPrompt(stage: string, prompt: ResolvedPrompt): void {
    this.prompts.set(stage, prompt);
    const id = this.#plan.promptOf.get(stage);
    if (id !== undefined) this.setLength(id, prompt.count);
  }

  /** Asks for the KV of every prompt, so that it is there when its stage begins. Lengths must be set. */
  startPrompts(): void {
    for (const stage of this.prompts.keys()) {
      const id = this.#plan.promptOf.get(stage);
      if (id !== undefined) this.#lease(id);
    }
  }

  #lease(id: SegmentId): Promise<PromptLease> {
    const prompt = this.prompts.get(this.segment(id).site);
    if (prompt === undefined) throw new InternalError(`"${id}" was not loaded.`);
    const lease = promptCacheOf(this.model).acquire(prompt, this.startOf(id));
    lease.catch(() => {}); // heard by holdPrompt
    this.#leases.set(id, lease);
    return lease;
  }

  /** Waits for the stage's prompt. Returns its rows to the first who asks if this run computed them, else 0. */
  async holdPrompt(stage: string): Promise<number> {
    const id = this.#plan.promptOf.get(stage);
    if (id === undefined) return 0;
    const asked = this.#prompted.get(id);
    const holding = asked ?? this.#takePrompt(id);
    this.#prompted.set(id, holding);
    const rows = await holding;
    return asked === undefined ? rows : 0;
  }

  async #takePrompt(id: SegmentId): Promise<number> {
    const lease = await this.lane.race(this.#leases.get(id) ?? this.#lease(id));
    this.#leases.delete(id);
    this.#written.add(id);
    this.#held.set(id, lease);
    return lease.rowsComputed;
  }

  // ---- lanes

  openLane(signal: AbortSignal): Lane {
    const lane = new Lane(this, signal);
    this.#lanes.add(lane);
    return lane;
  }

  closeLane(lane: Lane): void {
    this.#lanes.delete(lane);
  }

  // ---- release

  /** Segments that a step which has not ended reads, or may read, directly or through an input still to be written. */
  #stillRead(): Set<SegmentId> {
    const read = new Set<SegmentId>();
    for (const { id, kind, reads } of [...this.#plan.segments].reverse()) {
      const isEnded = this.#ended.has(id) || this.record.isEnded(id); // now, or before the run was resumed
      const begins = kind === "output" ? !isEnded : !this.#written.has(id) && read.has(id);
      const toCome = begins || (read.has(id) && (this.#owing.has(id) || this.#owedBefore(id)));
      if (toCome) for (const one of reads) read.add(one);
    }
    return read;
  }

  /** Of an output that had ended the snapshot lacks rows, which are computed when its stage is gone through. */
  #owedBefore(id: SegmentId): boolean {
    if (this.#restored === null || this.#ended.has(id) || !this.record.isEnded(id)) return false;
    return this.#restored.isPart(id, this.record.tokensOf(id).length);
  }

  isStillRead(id: SegmentId): boolean {
    return this.#stillRead().has(id);
  }

  /** Lets go of every segment that nobody reads any more, and of rows that were owed for such a reader. */
  releaseUnread(): void {
    const read = this.#stillRead();
    for (const lane of this.#lanes) lane.dropUnread(read);
    for (const [id, held] of this.#held) {
      if (read.has(id) || this.#isInWriting(id)) continue;
      this.#held.delete(id);
      held.release();
      if (this.#restored === null) continue;
      this.#written.delete(id); // rows that the snapshot lacks may be computed again behind it
      this.#prompted.delete(id);
    }
  }

  /** Waits for jobs that still run, then lets go of everything. */
  async releaseAll(): Promise<void> {
    await Promise.allSettled([...this.#lanes].map((lane) => lane.idle()));
    for (const held of this.#held.values()) held.release();
    this.#held.clear();
    for (const lease of this.#leases.values()) lease.then((one) => one.release()).catch(() => {});
    this.#leases.clear();
    this.#restored?.release();
  }

  // ---- snapshots

  /** Goes on where another run was. */
  resume(restored: RestoredRun, entries: readonly Entry[]): void {
    this.#restored = restored;
    this.record.remember(entries);
  }

  get resumes(): boolean {
    return this.#restored !== null;
  }

  /** Tokens of an input, or of an output as far as they are certain, its opener included. */
  rowTokens(id: SegmentId): Int32Array {
    return this.segment(id).kind === "input" ? this.tokensOf(id) : this.record.tokensOf(id);
  }

  /** First rows of `id` that the snapshot has, for `open` or `adopt`. */
  restoredRows(id: SegmentId): number {
    if (this.#restored === null || this.#written.has(id)) return 0;
    return this.#restored.rowsOf(id, this.rowTokens(id), this.startOf(id));
  }

  /** Takes over a segment all of whose rows the snapshot has. */
  adopt(id: SegmentId): void {
    const segment = this.#restored?.take(id, { start: this.startOf(id), reads: [], close: true });
    if (segment !== undefined) this.#hold(id, segment);
  }

  /** Segments that a later step reads, or that are being written, with the rows of them that are computed and certain. */
  saved(): { id: SegmentId; segment: Segment; rows: number[] }[] {
    const saved: { id: SegmentId; segment: Segment; rows: number[] }[] = [];
    for (const [id, { segment }] of this.#held) {
      const { kind, stage } = this.segment(id);
      if (kind === "prompt") continue;
      const tokens = this.rowTokens(id);
      // The row whose logits are to come is computed anew: of an output, or of the own input that it begins behind.
      const begins = kind === "input" ? stage !== null : this.#isInWriting(id);
      const most = begins ? tokens.length - 1 : tokens.length;
      const rows = Array.from(tokens.subarray(0, Math.max(0, Math.min(segment.info().rows, most))));
      if (rows.length > 0) saved.push({ id, segment, rows });
    }
    return saved;
  }
}
