// SPDX-License-Identifier: Apache-2.0
// `model.cache`: the KV cache of a model in the user's hands. It is added to the model here, so that the model itself
// need not know what is built on it.

import { Model } from "../model/model.js";
import type { CacheStats } from "../native/types.js";
import type { CacheOptions } from "./cache-options.js";
import { checkRetention, checkSalt } from "./cache-options.js";
import { CacheHandle } from "./handle.js";
import { promptCacheOf } from "./prompt-cache.js";
import { restoreView } from "./snapshot/of-handle.js";
import type { SnapshotSource } from "./snapshot/places.js";
import type { RestoreOptions } from "./snapshot/read.js";

/** The pool, what is in it, and what it has saved. */
export interface CacheReport extends CacheStats {
  /**
   * Bytes of KV that segments hold, by who wrote it, together `usedBytes`; and that the index alone keeps, together with
   * them never more than `budgetBytes`. Shared blocks count once.
   */
  bytes: { prompts: number; inputs: number; outputs: number; index: number };
  /**
   * Of `bytes.prompts`: prompts that no run reads now. They stay for the next run, and are let go, the least recently
   * used first, when a run or a handle needs their room.
   */
  idlePromptBytes: number;
  /** Blocks that more than one segment holds or reads. */
  blocksShared: number;
  /** Rows that went through a forward since the model was loaded. */
  rowsComputed: number;
  /** Rows that did not have to: read from earlier segments, or found by their content. */
  rowsReused: number;
}

export class ModelCache {
  readonly #model: Model;

  constructor(model: Model) {
    this.#model = model;
  }

  /** A handle without a row. Throws CLOSED, OPTION_INVALID. */
  open(options: CacheOptions = {}): CacheHandle {
    this.#model.stats(); // throws with the model's name if it is closed
    const { salt, retain } = options;
    return new CacheHandle(this.#model, { salt: checkSalt(salt), retain: checkRetention(retain) });
  }

  /**
   * Waits until everything that segments have let go, and that a tier is to have, is there: for programs that end without
   * closing the model. Closing it waits as well. Throws CLOSED.
   */
  settled(): Promise<void> {
    return this.#model.engine.settleTiers();
  }

  /**
   * A handle with the rows of a snapshot that `handle.snapshot` made, from a file or a stream; `handle.restored` says how
   * many. Marks are not kept. Rejects with KV_MISMATCH for a snapshot of another model, tokenizer, KV format or release,
   * SNAPSHOT_INVALID for a damaged one, CACHE_BUDGET, IO, OPTION_INVALID, CLOSED, the signal's reason; nothing is taken
   * then.
   */
  async restore(from: SnapshotSource, options: RestoreOptions = {}): Promise<CacheHandle> {
    this.#model.stats(); // throws with the model's name if it is closed
    const salt = checkSalt(options.salt);
    const { view, owed, report } = await restoreView(this.#model, from, { ...options, salt });
    return new CacheHandle(this.#model, { salt, retain: "usual" }, view, owed, report);
  }

  /** Counts every living segment's blocks: for looking at, not for every token. Throws CLOSED. */
  stats(): CacheReport {
    const stats = this.#model.stats();
    const census = this.#model.engine.census();
    const { blockBytes } = stats;
    return {
      ...stats,
      bytes: {
        prompts: census.promptBlocks * blockBytes,
        inputs: census.inputBlocks * blockBytes,
        outputs: census.outputBlocks * blockBytes,
        index: stats.blocksKept * blockBytes,
      },
      idlePromptBytes: promptCacheOf(this.#model).idleBytes,
      blocksShared: census.blocksShared,
      rowsComputed: census.rowsComputed,
      rowsReused: census.rowsReused,
    };
  }
}

declare module "../model/model.js" {
  interface Model {
    /** The KV cache without a chain: append, fork, rewind, generate; and what it holds. */
    readonly cache: ModelCache;
  }
}

const caches = new WeakMap<Model, ModelCache>();

Object.defineProperty(Model.prototype, "cache", {
  get(this: Model) {
    let cache = caches.get(this);
    if (cache === undefined) {
      cache = new ModelCache(this);
      caches.set(this, cache);
    }
    return cache;
  },
});
