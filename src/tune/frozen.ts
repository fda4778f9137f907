// SPDX-License-Identifier: Apache-2.0
// Frozen rows of items: KV that no trained prompt changes, computed once by ordinary jobs and read in every epoch. A
// store keeps it between steps up to a budget of bytes. Every epoch visits every item once, in an order of its own, so
// what is there stays and what does not fit is let go when its step is over: of n items of which c fit, c are found in
// each epoch, where giving up the least recently used one would leave about c^2 / 2n. Only when the pool itself has no
// room for a step do items go that nobody holds, the least recently used first.

import type { PromptLease } from "../cache/prompt-cache.js";
import { promptCacheOf } from "../cache/prompt-cache.js";
import { Segment } from "../cache/segment.js";
import type { SegmentId } from "../chain/plan.js";
import { InternalError } from "../errors.js";
import type { Model } from "../model/model.js";
import type { ResolvedPrompt } from "../model/prompt.js";
import type { ModelInfo } from "../native/types.js";
import type { AssembledItem, AssembledSegment } from "./assemble.js";

/** The frozen rows that live rows read, prompts included. */
export interface FrozenKv {
  item: AssembledItem;
  segments: ReadonlyMap<SegmentId, Segment>;
  /** Of KV, in whole blocks, prompts not counted; blocks that items share count for each. */
  bytes: number;
  /** Rows that were found by their content instead of computed. */
  found: number;
  release(): void;
}

/** Computes what a store does not have; before the job it waits for `claim` to have the bytes of KV that it takes. */
export type ComputeFrozen = (claim: (bytes: number) => Promise<void>) => Promise<FrozenKv>;

/** Where frozen rows are kept. `key` is the item's, for as long as the store lives. */
export interface FrozenStore {
  /** The item's rows, held until `release`; `kept`: they were there and nothing was computed. */
  hold(key: object, compute: ComputeFrozen): Promise<{ kv: FrozenKv; kept: boolean }>;
  /** Ends one hold. */
  release(key: object): void;
  /** Gives everything up that is not held; what is held goes when it is released. */
  close(): void;
}

/** Bytes of KV of an item's frozen segments while they are computed, and of those that are kept. */
export function frozenBytesOf(
  { blockRows, blockBytes }: Pick<ModelInfo, "blockRows" | "blockBytes">,
  { frozen, kept }: AssembledItem,
): { computed: number; kept: number } {
  const bytesOf = ({ tokens }: AssembledSegment) => Math.ceil(tokens.length / blockRows) * blockBytes;
  const sum = (list: readonly AssembledSegment[]) => list.reduce((total, one) => total + bytesOf(one), 0);
  return { computed: sum(frozen), kept: sum(frozen.filter(({ id }) => kept.has(id))) };
}

/** What frozen rows of an item stand on, let go together. */
export class FrozenHold {
  readonly segments = new Map<SegmentId, Segment>();
  readonly #own: Segment[] = [];
  readonly #leases: PromptLease[] = [];

  /** Segments that were added, prompts not among them. */
  get own(): readonly Segment[] {
    return this.#own;
  }

  async addPrompt(
    model: Model,
    { id, site, start }: AssembledItem["frozenPrompts"][number],
    promptOf: (site: string) => ResolvedPrompt,
  ): Promise<void> {
    const lease = await promptCacheOf(model).acquire(promptOf(site), start);
    this.#leases.push(lease);
    this.segments.set(id, lease.segment);
  }

  add(id: SegmentId, segment: Segment): void {
    this.#own.push(segment);
    this.segments.set(id, segment);
  }

  release(): void {
    for (const one of this.#own) one.release();
    for (const one of this.#leases) one.release();
  }
}

/** Segments to compute so that all kept ones are there: those that are not `there`, and what they read of others. */
function missingOf(
  { frozen, kept }: AssembledItem,
  there: ReadonlyMap<SegmentId, Segment>,
): AssembledSegment[] {
  const wanted = new Set([...kept].filter((id) => !there.has(id)));
  const missing = [...frozen].reverse().filter(({ id, reads }) => {
    if (!wanted.has(id)) return false;
    for (const one of reads) if (!there.has(one.id)) wanted.add(one.id);
    return true;
  });
  return missing.reverse();
}

/**
 * Computes in one job those frozen segments of an item that are not `restored`, which it takes over; those that only
 * frozen rows read are let go when it ends. An abort or a failure leaves nothing behind.
 */
export async function computeFrozen(
  model: Model,
  item: AssembledItem,
  promptOf: (site: string) => ResolvedPrompt,
  restored: ReadonlyMap<SegmentId, Segment> = new Map(),
  signal?: AbortSignal,
): Promise<FrozenKv> {
  const hold = new FrozenHold();
  try {
    for (const [id, segment] of restored) hold.add(id, segment);
    const missing = missingOf(item, restored);
    const read = new Set([...item.kept, ...missing.flatMap(({ reads }) => reads.map(({ id }) => id))]);
    for (const one of item.frozenPrompts) if (read.has(one.id)) await hold.addPrompt(model, one, promptOf);
    signal?.throwIfAborted();
    const computed: Segment[] = [];
    const appends = missing.map(({ id, kind, start, tokens, reads }) => {
      const views = reads.map((one) => ({ ...one, segment: found(hold.segments, one.id) }));
      const segment = new Segment(model.engine, { kind, start, reads: views });
      hold.add(id, segment);
      computed.push(segment);
      return { ...segment.appendTokens(tokens), close: true };
    });
    const job = { appends, logits: "none" as const };
    const listeners = signal === undefined ? {} : { signal };
    const outcome = appends.length === 0 ? null : await model.engine.run(job, listeners);
    for (const one of computed) one.close();
    const kept = new Map([...hold.segments].filter(([id]) => item.kept.has(id)));
    const isKept = new Set(kept.values());
    for (const one of hold.own) if (!isKept.has(one)) one.release();
    const bytes = hold.own.reduce((sum, one) => sum + (isKept.has(one) ? one.info().bytes : 0), 0);
    const rows =
      missing.reduce((sum, { tokens }) => sum + tokens.length, 0) - (outcome?.stats.rowsFound ?? 0);
    const release = () => hold.release();
    return { item, segments: kept, bytes, found: item.rows.frozen - rows, release };
  } catch (error) {
    hold.release();
    throw error;
  }
}

function found(segments: ReadonlyMap<SegmentId, Segment>, id: SegmentId): Segment {
  const segment = segments.get(id);
  if (segment === undefined) throw new InternalError(`Frozen rows read "${id}", which is not frozen.`);
  return segment;
}

interface Entry {
  kv: FrozenKv;
  holds: number;
}

/** Keeps frozen rows as segments in the model's pool. */
export class PoolStore implements FrozenStore {
  readonly #model: Model;
  readonly #budget: number;
  /** Least recently used first. */
  readonly #entries = new Map<object, Entry>();
  readonly #computing = new Map<object, Promise<unknown>>();
  /** Of entries. */
  #bytes = 0;
  /** What is being computed takes at most. */
  #claimed = 0;
  #running = 0;
  /** Who waits until something that is being computed has ended. */
  #waiting: (() => void)[] = [];
  #closed = false;

  /** `budget`: most bytes that are kept beyond what is held. */
  constructor(model: Model, budget: number) {
    this.#model = model;
    this.#budget = budget;
  }

  /** Bytes of KV that the store has segments for. */
  get bytes(): number {
    return this.#bytes;
  }

  async hold(key: object, compute: ComputeFrozen): Promise<{ kv: FrozenKv; kept: boolean }> {
    for (let other = this.#computing.get(key); other !== undefined; other = this.#computing.get(key)) {
      await other.catch(() => {}); // whoever began it hears of its failure
    }
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      entry.holds += 1;
      this.#entries.delete(key);
      this.#entries.set(key, entry); // most recently used last
      return { kv: entry.kv, kept: true };
    }
    const computing = this.#compute(key, compute);
    this.#computing.set(key, computing);
    try {
      return { kv: await computing, kept: false };
    } finally {
      this.#computing.delete(key);
    }
  }

  async #compute(key: object, compute: ComputeFrozen): Promise<FrozenKv> {
    let claimed: number | null = null;
    try {
      const kv = await compute(async (bytes) => {
        await this.#enter(bytes);
        claimed = bytes;
      });
      this.#entries.set(key, { kv, holds: 1 });
      this.#bytes += kv.bytes;
      return kv;
    } finally {
      if (claimed !== null) this.#leave(claimed);
    }
  }

  /** Waits, while others compute, until the pool has room; the only one goes ahead and hears of it from the engine. */
  async #enter(bytes: number): Promise<void> {
    while (!this.#hasRoom(this.#claimed + bytes) && this.#running > 0) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#claimed += bytes;
    this.#running += 1;
  }

  #leave(bytes: number): void {
    this.#claimed -= bytes;
    this.#running -= 1;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Gives up what nobody holds until `bytes` are free. What runs has taken some of its claim: this asks for more. */
  #hasRoom(bytes: number): boolean {
    const fits = () => this.#model.stats().freeBytes >= bytes;
    for (const [key, { holds }] of this.#entries) {
      if (fits()) return true;
      if (holds === 0) this.#drop(key);
    }
    if (!fits()) promptCacheOf(this.#model).makeRoom(bytes);
    return fits();
  }

  #drop(key: object): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.kv.bytes;
    entry.kv.release();
  }

  release(key: object): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.holds === 0) return;
    entry.holds -= 1;
    if (entry.holds === 0 && (this.#closed || this.#bytes > this.#budget)) this.#drop(key);
  }

  close(): void {
    this.#closed = true;
    for (const [key, { holds }] of this.#entries) if (holds === 0) this.#drop(key);
  }
}
