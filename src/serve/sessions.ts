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
  busy: boolean;
  usedAt: number;
}

export interface SessionLimits {
  most: number;
  idleMs: number;
}

const keyOf = (served: ServedModel, salt: string | undefined, id: string) =>
  JSON.stringify([served.name, salt ?? "", id]);

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
    const entry = found ?? { session: null as never, busy: true, usedAt: 0 };
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
  readonly #session: Session;
  readonly #leave: () => void;

  constructor({ session }: Entry, leave: () => void) {
    this.#session = session;
    this.#leave = leave;
  }

  async fill({ prompt, tokens }: Rows, signal: AbortSignal): Promise<Filled> {
    const session = this.#session;
    const lead = prompt === undefined ? [] : [contentOf(prompt)];
    const before = prompt?.count ?? 0;
    const { rows, common } = await session.match(...lead, tokens);
    // a prompt is appended whole; the last token's logits are wanted, so one is appended at least
    const kept = common < before ? 0 : Math.min(common, rows - 1);
    session.truncate(kept);
    let reused = kept;
    const missing = kept < before ? [...lead, tokens] : [tokens.subarray(kept - before)];
    for (const content of missing) reused += (await session.append(content, { signal })).rowsReused;
    return { rows: session.rows, reused };
  }

  /** What is written stays in the session; an output that was stopped does not. */
  generate(options: GenerationOptions): Generation {
    return this.#session.generate(options);
  }

  leave(): void {
    this.#leave();
  }
}
