// SPDX-License-Identifier: Apache-2.0
// Events from callbacks to one `for await` loop. A hand-written iterator: an async generator costs a promise chain per
// event. Events that nobody has read yet may become one, so that the queue stays short however slow the reader is.

import { OptionInvalidError } from "../errors.js";

interface Waiter<Event> {
  resolve: (result: IteratorResult<Event, undefined>) => void;
  reject: (error: unknown) => void;
}

export class Channel<Event> {
  readonly #queue: Event[] = [];
  readonly #waiters: Waiter<Event>[] = [];
  readonly #cancel: () => void;
  readonly #merge: (last: Event, next: Event) => Event | null;
  #end: { error?: unknown } | null = null;
  #taken = false;

  /**
   * `cancel` is called when the reader leaves its loop early; `merge` gives the two as one event, or null if they must
   * stay apart.
   */
  constructor(cancel: () => void, merge: (last: Event, next: Event) => Event | null = () => null) {
    this.#cancel = cancel;
    this.#merge = merge;
  }

  push(event: Event): void {
    if (this.#end !== null) return;
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve({ done: false, value: event });
      return;
    }
    const last = this.#queue.at(-1);
    const both = last === undefined ? null : this.#merge(last, event);
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

  iterator(): AsyncIterator<Event, undefined> {
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

  #next(): Promise<IteratorResult<Event, undefined>> {
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
