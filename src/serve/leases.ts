// SPDX-License-Identifier: Apache-2.0
// Requests in progress. A lease is taken when a request comes and given back when the last byte of its answer is on its
// way or its client is gone; draining waits for all of them, then aborts what is left.

import { shuttingDown } from "./errors.js";

export class Lease {
  readonly #end: () => void;
  readonly #controller = new AbortController();
  #ended = false;

  constructor(end: () => void) {
    this.#end = end;
  }

  /** Aborted when the client is gone, or the server cannot wait any longer. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason?: unknown): void {
    this.#controller.abort(reason);
  }

  /** Follows the request's own signal. */
  follow(signal: AbortSignal): void {
    if (signal.aborted) this.abort(signal.reason);
    else signal.addEventListener("abort", () => this.abort(signal.reason), { once: true });
  }

  /** Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#end();
  }
}

export class Leases {
  readonly #open = new Set<Lease>();
  #waiter: (() => void) | null = null;
  #draining = false;

  get draining(): boolean {
    return this.#draining;
  }

  get count(): number {
    return this.#open.size;
  }

  /** `onEnd` is called once, when it is given back. */
  take(onEnd: () => void): Lease {
    const lease: Lease = new Lease(() => {
      this.#open.delete(lease);
      onEnd();
      if (this.#open.size === 0) this.#waiter?.();
    });
    this.#open.add(lease);
    return lease;
  }

  /** Waits for all, at most so long; then aborts the others and waits until they have ended, too, for a second. */
  async drain(limitMs: number): Promise<void> {
    this.#draining = true;
    await this.#empty(limitMs);
    for (const lease of [...this.#open]) lease.abort(shuttingDown(1));
    await this.#empty(1000);
  }

  #empty(ms: number): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#waiter = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
