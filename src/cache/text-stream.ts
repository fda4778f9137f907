// SPDX-License-Identifier: Apache-2.0
// Text from the engine's callbacks to one `for await` loop. Pieces that nobody has read yet become one.

import { OptionInvalidError } from "../errors.js";

type Result = IteratorResult<string, undefined>;
const ended: Result = { done: true, value: undefined };

export class TextStream {
  readonly #cancel: () => void;
  #text = "";
  #end: { error?: unknown } | null = null;
  #waiter: { resolve: (result: Result) => void; reject: (error: unknown) => void } | null = null;
  #taken = false;

  /** `cancel` is called when the reader leaves its loop early. */
  constructor(cancel: () => void) {
    this.#cancel = cancel;
  }

  push(text: string): void {
    if (this.#end === null) this.#text += text;
    this.#tell();
  }

  /** The reader gets what is left, then the end, or the error once. */
  end(end: { error?: unknown } = {}): void {
    this.#end ??= end;
    this.#tell();
  }

  iterator(): AsyncIterator<string, undefined> {
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
        this.#text = "";
        this.#tell();
        return ended;
      },
    };
  }

  #tell(): void {
    const waiter = this.#waiter;
    if (waiter === null || (this.#text === "" && this.#end === null)) return;
    this.#waiter = null;
    if (this.#text !== "") {
      const value = this.#text;
      this.#text = "";
      waiter.resolve({ done: false, value });
      return;
    }
    const end = this.#end;
    this.#end = {};
    if (end !== null && "error" in end) waiter.reject(end.error);
    else waiter.resolve(ended);
  }
}
