// SPDX-License-Identifier: Apache-2.0
// What random programs of the cache run on: handles of a small pool, and beside each of them what it must hold, a list
// of token ids. What a handle would say next is compared with a handle of another model, without index and with room,
// that computes the same rows in one go.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { CacheHandle, CacheMark, Model } from "../../../src/index.js";
import { BatonError } from "../../../src/index.js";
import { loadTiny, until } from "../../chain/tiny-model.js";

export interface Held {
  handle: CacheHandle;
  /** The reference. */
  rows: number[];
  marks: { mark: CacheMark; rows: number[] }[];
}

export const mostHandles = 6;
const poolBytes = 640 << 10;
// Blocks that the index gives up go to a tier, and come back for content that a program had before: demoted and
// restored without a command of its own.
/** Of log-probabilities: rows in several segments are summed in another order than in one. */
const tolerance = 2e-3;
const exact = { kvType: "f32", activations: "float32" } as const;

export class World {
  readonly model: Model;
  readonly #oracle: Model;
  readonly folder: string;
  held: Held[] = [];
  /** Names of files in the folder, with the rows that each holds. */
  snapshots: { path: string; rows: number[] }[] = [];
  /** By what was done, and by the code it was refused with. */
  counts: Record<string, number> = {};

  private constructor(model: Model, oracle: Model, folder: string) {
    this.model = model;
    this.#oracle = oracle;
    this.folder = folder;
  }

  static async open(): Promise<World> {
    const folder = mkdtempSync(join(tmpdir(), "baton-model-based-"));
    const model = await loadTiny({
      ...exact,
      cacheBytes: poolBytes,
      indexBytes: poolBytes / 4,
      tiers: { disk: { folder: join(folder, "tier"), bytes: poolBytes } },
      restore: "always",
    });
    return new World(model, await loadTiny({ ...exact, cacheBytes: 16 << 20 }), folder);
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** One of the handles, whatever number a program was made with. */
  pick(index: number): Held {
    return this.held[index % this.held.length] as Held;
  }

  add(handle: CacheHandle, rows: number[], marks: Held["marks"] = []): void {
    this.held.push({ handle, rows: [...rows], marks: [...marks] });
  }

  /** Runs what may be refused for lack of room or context: then nothing has happened. */
  async attempt<T>(what: string, work: () => Promise<T>): Promise<T | null> {
    try {
      const done = await work();
      this.count(what);
      return done;
    } catch (error) {
      if (!BatonError.isInstance(error) || !["CACHE_BUDGET", "CONTEXT_LIMIT"].includes(error.code))
        throw error;
      this.count(`${what} refused`);
      return null;
    }
  }

  checkCounts(): void {
    for (const { handle, rows } of this.held) expect(handle.rows).toBe(rows.length);
    const { usedBytes, budgetBytes, blocksKept, blockBytes } = this.model.stats();
    expect(usedBytes + blocksKept * blockBytes).toBeLessThanOrEqual(budgetBytes);
  }

  /** The log-probabilities of what comes next. */
  async checkNext(one: Held): Promise<void> {
    if (one.rows.length === 0 || one.rows.length >= this.model.info.contextLength) return;
    const ask = { maxTokens: 1, logprobs: 20, closers: ["<|endoftext|>"] };
    const said = await this.attempt("look", async () => {
      const fork = one.handle.fork();
      try {
        return await fork.generate(ask).result;
      } finally {
        fork.close();
      }
    });
    if (said === null) return;
    const fresh = this.#oracle.cache.open();
    await fresh.append(one.rows);
    const wanted = await fresh.generate(ask).result;
    fresh.close();
    const byToken = new Map(topOf(wanted).map(({ id, logprob }) => [id, logprob]));
    let common = 0;
    for (const { id, logprob } of topOf(said)) {
      const reference = byToken.get(id);
      if (reference === undefined) continue; // the last ones of 20 may be another
      common += 1;
      expect(Math.abs(logprob - reference)).toBeLessThan(tolerance);
    }
    expect(common).toBeGreaterThan(15);
  }

  /** Lets go of everything: nothing may stay but what the index keeps. */
  async end(): Promise<void> {
    for (const { handle } of this.held) handle.close();
    this.held = [];
    this.snapshots = [];
    await until(() => this.model.stats().usedBytes === 0 && this.model.stats().segments === 0);
    expect(this.model.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
    expect(this.model.activity()).toMatchObject({ runs: 0, waitingRuns: 0, jobs: 0 });
  }

  async close(): Promise<void> {
    await Promise.all([this.model.close(), this.#oracle.close()]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function topOf({ logprobs, closing }: Awaited<ReturnType<CacheHandle["generate"]>["result"]>) {
  const first = closing ?? logprobs?.[0];
  if (first === undefined) throw new Error("no log-probabilities");
  return first.top;
}
