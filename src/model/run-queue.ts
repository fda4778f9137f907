// SPDX-License-Identifier: Apache-2.0
// Who may run now. At most `maxConcurrentRuns` runs of a model are in progress; the others wait here, first come,
// first served, before they have computed or reserved anything. At most `maxQueuedRuns` wait: the next one is refused
// at once, so that an overloaded program hears it while it can still say no.
//
// A run that is started inside another run of the same model (in a `from` function, say) is part of that one's work:
// it never waits, as the outer run would wait for it for ever.

import { AsyncLocalStorage } from "node:async_hooks";
import { ClosedError, QueueFullError } from "../errors.js";

export interface RunLimits {
  /** At least 1; Infinity: no limit. */
  maxConcurrentRuns: number;
  /** At least 0; Infinity: no limit. */
  maxQueuedRuns: number;
}

interface Waiting {
  admit: () => void;
  refuse: (error: unknown) => void;
}

/** A run in progress, as seen by what it calls. */
interface Place {
  queue: RunQueue;
  active: boolean;
}

const current = new AsyncLocalStorage<Place>();

export class RunQueue {
  readonly #limits: RunLimits;
  /** Oldest first. */
  readonly #waiting = new Set<Waiting>();
  /** Runs in progress that count against the limit. */
  #places = 0;
  /** Runs in progress that do not: without a limit, or inside another run. */
  #free = 0;
  #closed = false;

  constructor(limits: RunLimits) {
    this.#limits = limits;
  }

  /** Runs in progress, those inside another run included. */
  get running(): number {
    return this.#places + this.#free;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Calls `work` when it is this run's turn. Rejects with QUEUE_FULL at once, with the signal's reason as soon as it
   * is aborted while waiting, with CLOSED if the model is closed first.
   */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    // Following the context costs every promise of the process a little: only where somebody may have to wait.
    if (this.#limits.maxConcurrentRuns === Number.POSITIVE_INFINITY) return this.#runFree(work);
    const outer = current.getStore();
    if (outer?.queue === this && outer.active) return this.#runFree(work);
    await this.#enter(signal);
    const place: Place = { queue: this, active: true };
    try {
      return await current.run(place, work);
    } finally {
      place.active = false;
      this.#leave();
    }
  }

  async #runFree<T>(work: () => Promise<T>): Promise<T> {
    this.#free += 1;
    try {
      return await work();
    } finally {
      this.#free -= 1;
    }
  }

  /** Refuses all that wait. */
  close(): void {
    this.#closed = true;
    for (const one of this.#waiting) {
      one.refuse(
        new ClosedError("The model was closed before the run could begin. Await runs before closing it."),
      );
    }
    this.#waiting.clear();
  }

  async #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { maxConcurrentRuns, maxQueuedRuns } = this.#limits;
    if (this.#places < maxConcurrentRuns || this.#closed) {
      this.#places += 1; // a closed model says so itself, with its name
      return;
    }
    if (this.#waiting.size >= maxQueuedRuns) {
      throw new QueueFullError(
        `${this.#places} runs are in progress and ${this.#waiting.size} wait, as many as maxConcurrentRuns and ` +
          "maxQueuedRuns allow. Try again when a run has ended, or load the model with higher limits.",
        { facts: { running: this.#places, waiting: this.#waiting.size, maxConcurrentRuns, maxQueuedRuns } },
      );
    }
    await this.#wait(signal);
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(one);
        reject(signal.reason);
      };
      const one: Waiting = {
        admit: () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        },
        refuse: (error) => {
          signal.removeEventListener("abort", onAbort);
          reject(error);
        },
      };
      this.#waiting.add(one);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** The place goes to the one that waits longest: nobody who comes now gets in between. */
  #leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#places -= 1;
      return;
    }
    this.#waiting.delete(next);
    next.admit();
  }
}
