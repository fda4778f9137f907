// SPDX-License-Identifier: Apache-2.0
// Sessions of clients: rows that stay between requests, under an id that is its key's own. A request on a session brings
// the whole conversation, as every client of this API does; the session keeps as much of its rows as begin the same, cuts
// the rest off and computes what is new. How many there are and how long they may idle is bounded, and idle ones go first
// when the pool has no room: that costs time later, never a result.

import type { Generation, GenerationOptions, Session } from "../index.js";
import { ServeError } from "./errors.js";
import type { ServedModel } from "./models.js";
import type { Filled, Place, Rows } from "./places.js";
import { contentOf } from "./places.js";

interface Entry {
  session: Session;
  /** Hash and rows of the prompt that stands first. */
  prompt: { hash: string; count: number } | null;
  /** Of the rows behind it. */
  tokens: number[];
  busy: boolean;
  usedAt: number;
}

export interface SessionLimits {
  most: number;
  idleMs: number;
}

const keyOf = (served: ServedModel, salt: string | undefined, id: string) =>
  JSON.stringify([served.name, salt ?? "", id]);

function common(a: readonly number[], b: Int32Array): number {
  const most = Math.min(a.length, b.length);
  let at = 0;
  while (at < most && a[at] === b[at]) at++;
  return at;
}

export class Sessions {
  readonly #limits: SessionLimits;
  /** Least recently used first. */
  readonly #open = new Map<string, Entry>();

  constructor(limits: SessionLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#open.size;
  }

  /** The session of this id, for one call at a time. Throws ServeError 409 while another one is on it, 503. */
  async take(served: ServedModel, salt: string | undefined, id: string): Promise<Place> {
    const key = keyOf(served, salt, id);
    const found = this.#open.get(key);
    if (found?.busy) {
      throw new ServeError(
        409,
        "session_busy",
        `Session "${id}" is answering another request. Wait for it, or give each line of a conversation its own session.`,
        { param: "session", headers: { "retry-after": "1" } },
      );
    }
    const entry = found ?? { session: null as never, prompt: null, tokens: [], busy: true, usedAt: 0 };
    entry.busy = true;
    this.#open.delete(key);
    this.#open.set(key, entry); // most recently used last
    if (found === undefined) {
      try {
        this.#makeRoom();
        entry.session = await served.model.session({ id, ...(salt === undefined ? {} : { salt }) });
      } catch (error) {
        this.#open.delete(key);
        throw error;
      }
    }
    return new SessionPlace(entry, () => {
      entry.busy = false;
      entry.usedAt = performance.now();
    });
  }

  /** Frees its rows. False: there was none. Throws ServeError 409. */
  delete(served: ServedModel, salt: string | undefined, id: string): boolean {
    const key = keyOf(served, salt, id);
    const entry = this.#open.get(key);
    if (entry === undefined) return false;
    if (entry.busy) {
      throw new ServeError(
        409,
        "session_busy",
        `Session "${id}" is answering a request. Delete it afterwards.`,
        {
          headers: { "retry-after": "1" },
        },
      );
    }
    this.#close(key, entry);
    return true;
  }

  /** Lets go of those that nobody has used for long. */
  sweep(): void {
    const limit = performance.now() - this.#limits.idleMs;
    for (const [key, entry] of this.#open) if (!entry.busy && entry.usedAt < limit) this.#close(key, entry);
  }

  /** Lets go of all idle ones, for the sake of a call that has no room. True if there was one. */
  clear(): boolean {
    let any = false;
    for (const [key, entry] of this.#open) {
      if (entry.busy) continue;
      this.#close(key, entry);
      any = true;
    }
    return any;
  }

  #close(key: string, { session }: Entry): void {
    this.#open.delete(key);
    session.close();
  }

  /** The least recently used idle one goes when there are too many. */
  #makeRoom(): void {
    if (this.#open.size <= this.#limits.most) return;
    for (const [key, entry] of this.#open) {
      if (entry.busy) continue;
      this.#close(key, entry);
      return;
    }
    throw new ServeError(
      503,
      "too_many_sessions",
      `${this.#limits.most} sessions are in use, as many as this server holds. Try again in a moment, or leave \`session\` out.`,
      { param: "session", headers: { "retry-after": "1" } },
    );
  }
}

class SessionPlace implements Place {
  readonly #entry: Entry;
  readonly #leave: () => void;

  constructor(entry: Entry, leave: () => void) {
    this.#entry = entry;
    this.#leave = leave;
  }

  async fill({ prompt, tokens }: Rows, signal: AbortSignal): Promise<Filled> {
    const entry = this.#entry;
    const { session } = entry;
    let reused = 0;
    if (
      entry.prompt?.hash !== prompt?.hash ||
      session.rows !== (entry.prompt?.count ?? 0) + entry.tokens.length
    ) {
      session.truncate(0);
      entry.tokens = [];
      entry.prompt = null;
    }
    if (prompt !== undefined && entry.prompt === null) {
      reused += (await session.append(contentOf(prompt), { signal })).rowsReused;
      entry.prompt = { hash: prompt.hash, count: prompt.count };
    } else reused += entry.prompt?.count ?? 0;
    // the last token's logits are wanted, so one is appended at least
    const kept = Math.min(common(entry.tokens, tokens), tokens.length - 1);
    session.truncate((entry.prompt?.count ?? 0) + kept);
    entry.tokens.length = kept;
    const fresh = tokens.subarray(kept);
    reused += kept + (await session.append(fresh, { signal })).rowsReused;
    for (const id of fresh) entry.tokens.push(id);
    return { rows: session.rows, reused };
  }

  generate(options: GenerationOptions): Generation {
    const entry = this.#entry;
    const generation = entry.session.generate(options);
    const keep = generation.result.then(({ tokens }) => {
      const rows = entry.session.rows - (entry.prompt?.count ?? 0) - entry.tokens.length;
      for (const id of tokens.slice(0, Math.max(0, rows))) entry.tokens.push(id);
    });
    keep.catch(() => {}); // an output that was stopped is no part of the session
    return generation;
  }

  leave(): void {
    this.#leave();
  }
}
