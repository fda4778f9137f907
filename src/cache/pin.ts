// SPDX-License-Identifier: Apache-2.0
// A pin: somebody who holds rows and does nothing else with them. What is held is never given up, so that a pin is all
// it takes to keep a trunk beside branches that come and go.

import { OptionInvalidError } from "../errors.js";

/** What is pinned. */
interface Held {
  readonly rows: number;
  readonly closed: boolean;
  close(): void;
}

/** The longest that a timer waits. */
const mostMilliseconds = 2 ** 31 - 1;

export class CachePin {
  readonly rows: number;
  readonly #held: Held;
  #timer: NodeJS.Timeout | undefined;

  /** Use `handle.pin()`. Takes over `held`. */
  constructor(held: Held, ms?: number) {
    if (ms !== undefined && !(Number.isFinite(ms) && ms > 0 && ms <= mostMilliseconds)) {
      held.close();
      throw new OptionInvalidError(
        `\`ms\` is ${String(ms)}. Give a number of milliseconds above 0, at most ${mostMilliseconds}, or leave it out.`,
        { facts: { option: "ms", value: String(ms) } },
      );
    }
    this.rows = held.rows;
    this.#held = held;
    if (ms !== undefined) this.#timer = setTimeout(() => this.release(), ms).unref();
  }

  get released(): boolean {
    return this.#held.closed;
  }

  /** Idempotent. */
  release(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#held.close();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
