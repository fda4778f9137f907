// SPDX-License-Identifier: Apache-2.0
// Where the rows of a call go: into a handle of its own, which finds by their content what earlier calls have computed, or
// into a session, which holds its rows between calls. A call says all of its rows every time, so what a place already has
// decides about time and never about the result.

import type { CacheHandle, Generation, GenerationOptions } from "../index.js";
import type { ResolvedPrompt } from "../model/prompt.js";
import type { ServedModel } from "./models.js";

export interface Rows {
  /** Stands before the tokens. */
  prompt?: ResolvedPrompt;
  tokens: Int32Array;
}

export interface Filled {
  /** Rows that the output reads, prompt included. */
  rows: number;
  /** Those of them that were not computed now. */
  reused: number;
}

export interface Place {
  /** May be tried again when it failed. */
  fill(rows: Rows, signal: AbortSignal): Promise<Filled>;
  generate(options: GenerationOptions): Generation;
  /** The call has ended. */
  leave(): void;
}

/** `prompt` as something to append. */
export function contentOf({ rows, tokens, count }: ResolvedPrompt) {
  return rows === undefined ? (tokens ?? new Int32Array()) : { rows, count };
}

const mostTrunks = 32;

interface Trunk {
  handle: CacheHandle;
  ready: Promise<unknown>;
}

/**
 * All rows, the last one too: a handle owes it until something follows, and of a segment that begins with it nothing
 * would be found.
 */
async function compute(handle: CacheHandle, prompt: ResolvedPrompt): Promise<void> {
  await handle.append(contentOf(prompt));
  await handle.append([0]);
  handle.truncate(prompt.count);
}

/** The rows of named prompts, each held once for a model and a salt; calls begin as forks of them. */
export class Trunks {
  readonly #byPrompt = new Map<string, Trunk>();

  /** A handle with the prompt's rows, and whether they were there. */
  async fork(
    { model }: ServedModel,
    prompt: ResolvedPrompt,
    salt: string | undefined,
  ): Promise<{ handle: CacheHandle; reused: number }> {
    const key = JSON.stringify([model.info.contentHash, salt ?? "", prompt.hash]);
    const found = this.#byPrompt.get(key);
    const trunk = found ?? this.#open(model.cache.open(salt === undefined ? {} : { salt }), key, prompt);
    this.#byPrompt.delete(key);
    this.#byPrompt.set(key, trunk); // most recently used last
    await trunk.ready;
    return { handle: trunk.handle.fork(), reused: found === undefined ? 0 : prompt.count };
  }

  /** Lets go of all, for the sake of a call that has no room. True if there was one. */
  clear(): boolean {
    const any = this.#byPrompt.size > 0;
    for (const { handle } of this.#byPrompt.values()) handle.close();
    this.#byPrompt.clear();
    return any;
  }

  #open(handle: CacheHandle, key: string, prompt: ResolvedPrompt): Trunk {
    const [oldest] = this.#byPrompt;
    if (this.#byPrompt.size >= mostTrunks && oldest !== undefined) {
      oldest[1].handle.close();
      this.#byPrompt.delete(oldest[0]);
    }
    const ready = compute(handle, prompt).catch((error: unknown) => {
      if (this.#byPrompt.get(key)?.handle === handle) this.#byPrompt.delete(key);
      handle.close();
      throw error;
    });
    ready.catch(() => {}); // every caller of fork hears it; none may be left
    return { handle, ready };
  }
}

/** A handle of the call's own. */
export class OwnPlace implements Place {
  readonly #served: ServedModel;
  readonly #trunks: Trunks;
  readonly #salt: string | undefined;
  #handle: CacheHandle | null = null;

  constructor(served: ServedModel, trunks: Trunks, salt: string | undefined) {
    this.#served = served;
    this.#trunks = trunks;
    this.#salt = salt;
  }

  async fill({ prompt, tokens }: Rows, signal: AbortSignal): Promise<Filled> {
    const { cache } = this.#served.model;
    let reused = 0;
    this.#handle?.close(); // of a try that had no room
    if (prompt === undefined) this.#handle = cache.open(this.#salt === undefined ? {} : { salt: this.#salt });
    else {
      const forked = await this.#trunks.fork(this.#served, prompt, this.#salt);
      this.#handle = forked.handle;
      reused = forked.reused;
    }
    const usage = await this.#handle.append(tokens, { signal });
    return { rows: this.#handle.rows, reused: reused + usage.rowsReused };
  }

  generate(options: GenerationOptions): Generation {
    if (this.#handle === null) throw new Error("generate before fill");
    return this.#handle.generate(options);
  }

  leave(): void {
    this.#handle?.close();
  }
}
