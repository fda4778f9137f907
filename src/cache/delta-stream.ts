// SPDX-License-Identifier: Apache-2.0
// Text, and figures of its tokens, from the engine's callbacks to one `for await` loop. Pieces that nobody has read
// yet become one.

import { OptionInvalidError } from "../errors.js";
import type { OutputDelta } from "./output.js";

type Result = IteratorResult<OutputDelta, undefined>;
const ended: Result = { done: true, value: undefined };

function joined(before: OutputDelta | null, next: OutputDelta): OutputDelta {
  if (before === null) return next;
  const text = before.text + next.text;
  if (before.logprobs === undefined || next.logprobs === undefined) return { ...before, ...next, text };
  return { text, logprobs: [...before.logprobs, ...next.logprobs] };
}

export class DeltaStream {
  readonly #cancel: () => void;
  #unread: OutputDelta | null = null;
  #end: { error?: unknown } | null = null;
  #waiter: { resolve: (result: Result) => void; reject: (error: unknown) => void } | null = null;
  #taken = false;

  /** `cancel` is called when the reader leaves its loop early. */
  constructor(cancel: () => void) {
    this.#cancel = cancel;
  }

  push(delta: OutputDelta): void {
    if (this.#end !== null) return;
    this.#unread = joined(this.#unread, delta);
    this.#tell();
  }

  /** The reader gets what is left, then the end, or the error once. */
  end(end: { error?: unknown } = {}): void {
    this.#end ??= end;
    this.#tell();
  }

  iterator(): AsyncIterator<OutputDelta, undefined> {
    if (this.#taken) {
      throw new OptionInvalidError("A generation can be iterated once. Await `result` for the outcome.");
    }
    this.#taken = true;
    return {
      next: () =>
        new Promise((resolve, reject) => {
          this.#waiter?.resolve(ended);
          this.#waiter = { resolve, reject };
          this.#tell();
        }),
      return: async () => {
        if (this.#end === null) this.#cancel();
        this.#end = {};
        this.#unread = null;
        this.#tell();
        return ended;
      },
    };
  }

  /** The same for a reader of text alone. */
  textIterator(): AsyncIterator<string, undefined> {
    const deltas = this.iterator();
    const end = { done: true, value: undefined } as const;
    return {
      async next() {
        for (;;) {
          const { done, value } = await deltas.next();
          if (done === true) return end;
          if (value.text !== "") return { done: false, value: value.text };
        }
      },
      async return() {
        await deltas.return?.();
        return end;
      },
    };
  }

  #tell(): void {
    const waiter = this.#waiter;
    const value = this.#unread;
    if (waiter === null || (value === null && this.#end === null)) return;
    this.#waiter = null;
    if (value !== null) {
      this.#unread = null;
      waiter.resolve({ done: false, value });
      return;
    }
    const end = this.#end;
    this.#end = {};
    if (end !== null && "error" in end) waiter.reject(end.error);
    else waiter.resolve(ended);
  }
}
