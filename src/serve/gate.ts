// SPDX-License-Identifier: Apache-2.0
// How many requests compute at once and how many wait. It is the queue that runs of a model have, over all models of the
// server, and it knows how long a turn has taken lately, so that whoever is refused hears when to come again.

import { RunQueue } from "../model/run-queue.js";

const longestRetry = 60;

export class Gate {
  readonly #queue: RunQueue;
  readonly #most: number;
  /** Of a turn, in seconds, lately. */
  #seconds = 1;

  constructor(maxConcurrent: number, maxQueued: number) {
    this.#most = maxConcurrent;
    this.#queue = new RunQueue({ maxConcurrentRuns: maxConcurrent, maxQueuedRuns: maxQueued });
  }

  get running(): number {
    return this.#queue.running;
  }

  get waiting(): number {
    return this.#queue.waiting;
  }

  /** Whole seconds after which a place may be expected. */
  get retryAfter(): number {
    const turns = (this.waiting + 1) / this.#most;
    return Math.max(1, Math.min(longestRetry, Math.ceil(turns * this.#seconds)));
  }

  /** Rejects with QUEUE_FULL at once, with the signal's reason while waiting. */
  run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return this.#queue.run(signal, async () => {
      const began = performance.now();
      try {
        return await work();
      } finally {
        this.#seconds += ((performance.now() - began) / 1000 - this.#seconds) / 8;
      }
    });
  }
}
