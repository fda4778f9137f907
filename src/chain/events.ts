// SPDX-License-Identifier: Apache-2.0
// Events from the engine's callbacks to one `for await` loop. A hand-written iterator: an async generator costs a
// promise chain per event. Neighbouring text deltas and progress figures that nobody has read yet become one, so the
// queue stays short however slow the reader is.

import { OptionInvalidError } from "../errors.js";
import type { ChainEvent } from "./types.js";

interface Waiter<Stage extends string> {
  resolve: (result: IteratorResult<ChainEvent<Stage>, undefined>) => void;
  reject: (error: unknown) => void;
}

/** The two as one event, or null if they must stay apart. */
function merged<S extends string>(last: ChainEvent<S>, next: ChainEvent<S>): ChainEvent<S> | null {
  if (last.type === "text-delta" && next.type === "text-delta" && last.stage === next.stage) {
    const joined = { ...last, text: last.text + next.text };
    if (next.logprobs === undefined) return joined;
    return { ...joined, logprobs: [...(last.logprobs ?? []), ...next.logprobs] };
  }
  if (last.type === "prefill" && next.type === "prefill" && last.stage === next.stage) return next;
  return null;
}

export class EventChannel<Stage extends string> {
  readonly #queue: ChainEvent<Stage>[] = [];
  readonly #waiters: Waiter<Stage>[] = [];
  readonly #cancel: () => void;
  #end: { error?: unknown } | null = null;
  #taken = false;

  /** `cancel` is called when the reader leaves its loop early. */
  constructor(cancel: () => void) {
    this.#cancel = cancel;
  }

  push(event: ChainEvent<Stage>): void {
    if (this.#end !== null) return;
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve({ done: false, value: event });
      return;
    }
    const last = this.#queue.at(-1);
    const both = last === undefined ? null : merged(last, event);
    if (both === null) this.#queue.push(event);
    else this.#queue[this.#queue.length - 1] = both;
  }

  end(): void {
    this.#end ??= {};
    for (const waiter of this.#waiters.splice(0)) waiter.resolve({ done: true, value: undefined });
  }

  /** The reader gets what is queued, then the error, once. */
  fail(error: unknown): void {
    if (this.#end !== null) return;
    const [first, ...others] = this.#waiters.splice(0);
    this.#end = first === undefined ? { error } : {};
    first?.reject(error);
    for (const waiter of others) waiter.resolve({ done: true, value: undefined });
  }

  iterator(): AsyncIterator<ChainEvent<Stage>, undefined> {
    if (this.#taken) {
      throw new OptionInvalidError(
        "The events of a run can be iterated once. Await `result` for the outcome.",
      );
    }
    this.#taken = true;
    return {
      next: () => this.#next(),
      return: async () => {
        this.#queue.length = 0;
        if (this.#end === null) this.#cancel();
        this.#end = {};
        return { done: true, value: undefined };
      },
    };
  }

  #next(): Promise<IteratorResult<ChainEvent<Stage>, undefined>> {
    const value = this.#queue.shift();
    if (value !== undefined) return Promise.resolve({ done: false, value });
    if (this.#end === null) {
      return new Promise((resolve, reject) => {
        this.#waiters.push({ resolve, reject });
      });
    }
    const end = this.#end;
    this.#end = {};
    if ("error" in end) return Promise.reject(end.error);
    return Promise.resolve({ done: true, value: undefined });
  }
}
