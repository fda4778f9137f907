// SPDX-License-Identifier: Apache-2.0
// A prompt sees nothing but itself, so its KV depends on its content and its position only: computed once per model,
// read by every chain and every run, with or without a content index. Entries are counted; one that nobody uses is idle:
// it stays, within the pool's budget and counted as used, until a run or a handle needs its room, and then goes to the
// index like any other segment.

import type { Model } from "../model/model.js";
import type { ResolvedPrompt } from "../model/prompt.js";
import { Segment } from "./segment.js";

export interface PromptLease {
  segment: Segment;
  rows: number;
  /** Rows that this call computed; 0: they were there, or another run computes them. */
  rowsComputed: number;
  release(): void;
}

interface Entry {
  segment: Segment;
  /** Rows that had to be computed. */
  ready: Promise<number>;
  leases: number;
}

export class PromptCache {
  readonly #model: Model;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();

  constructor(model: Model) {
    this.#model = model;
  }

  /** Prompts whose KV is held. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * The prompt's KV with row 0 at `start`, computed if it is not there. The computation belongs to the cache, not to
   * the caller: an abort of one run leaves it to the others.
   */
  async acquire(prompt: ResolvedPrompt, start: number): Promise<PromptLease> {
    const key = `${prompt.hash}@${start}`;
    const found = this.#entries.get(key);
    const entry = found ?? this.#create(key, prompt, start);
    this.#entries.delete(key);
    this.#entries.set(key, entry); // most recently used last
    entry.leases += 1;
    let released = false;
    const release = () => {
      if (!released) entry.leases -= 1;
      released = true;
    };
    let rowsComputed = 0;
    try {
      rowsComputed = await entry.ready;
    } catch (error) {
      release();
      throw error;
    }
    if (found !== undefined) rowsComputed = 0;
    return { segment: entry.segment, rows: prompt.count, rowsComputed, release };
  }

  /** Bytes of KV of prompts that nobody uses now. */
  get idleBytes(): number {
    let bytes = 0;
    for (const { segment, leases } of this.#entries.values()) bytes += leases > 0 ? 0 : segment.info().bytes;
    return bytes;
  }

  /** Lets go of idle prompts as `makeRoom` does, until `rows` rows of one segment fit. */
  makeRoomForRows(rows: number): void {
    const { blockRows, blockBytes } = this.#model.info;
    this.makeRoom((Math.ceil(rows / blockRows) + 1) * blockBytes); // an open segment may begin within a block
  }

  /** Lets go of idle prompts, the least recently used first, until `bytes` are free or none is left. */
  makeRoom(bytes: number): void {
    for (const [key, entry] of this.#entries) {
      if (this.#model.stats().freeBytes >= bytes) return;
      if (entry.leases > 0) continue;
      this.#entries.delete(key);
      entry.segment.release();
    }
  }

  #create(key: string, prompt: ResolvedPrompt, start: number): Entry {
    const { engine } = this.#model;
    this.makeRoomForRows(prompt.count);
    const segment = new Segment(engine, { kind: "prompt", start, reads: [] });
    const entry: Entry = { segment, ready: Promise.resolve(0), leases: 0 };
    const append =
      prompt.rows === undefined
        ? segment.appendTokens(prompt.tokens ?? new Int32Array())
        : segment.appendRows(prompt.rows);
    const compute = async () => {
      try {
        const { stats } = await engine.run({ appends: [{ ...append, close: true }], logits: "none" });
        return stats.rowsComputed;
      } catch (error) {
        if (this.#entries.get(key) === entry) this.#entries.delete(key);
        segment.release();
        throw error;
      }
    };
    entry.ready = compute();
    entry.ready.catch(() => {}); // every caller of acquire hears it; none may be left
    return entry;
  }
}

const caches = new WeakMap<Model, PromptCache>();

export function promptCacheOf(model: Model): PromptCache {
  let cache = caches.get(model);
  if (cache === undefined) {
    cache = new PromptCache(model);
    caches.set(model, cache);
  }
  return cache;
}
