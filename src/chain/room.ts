// SPDX-License-Identifier: Apache-2.0
// Bytes of KV for the jobs of one run. The engine lets jobs wait for blocks and fails the youngest when all of them
// wait, which is right between runs that know nothing of each other. Jobs of one run do: one that might not fit beside
// those that run waits until one of them has ended.

import { promptCacheOf } from "../cache/prompt-cache.js";
import type { Model } from "../model/model.js";

export class Room {
  readonly #model: Model;
  readonly #bytesInWriting: () => number;
  #claimed = 0;
  #running = 0;
  #waiting: { bytes: number; enter: () => void }[] = [];

  /** `bytesInWriting`: how much of what running jobs have claimed they have taken. */
  constructor(model: Model, bytesInWriting: () => number) {
    this.#model = model;
    this.#bytesInWriting = bytesInWriting;
  }

  /** Claims `bytes`, evicting prompts that nobody uses. Null: go ahead; else a promise to be awaited before. */
  enter(bytes: number): Promise<void> | null {
    if (this.#waiting.length === 0 && this.#fits(bytes)) {
      this.#claim(bytes);
      return null;
    }
    return new Promise((resolve) => {
      this.#waiting.push({ bytes, enter: resolve });
    });
  }

  /** The job has ended, and whoever waited first goes ahead if it fits now. */
  leave(bytes: number): void {
    this.#claimed -= bytes;
    this.#running -= 1;
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#claim(next.bytes);
      next.enter();
    }
  }

  #claim(bytes: number): void {
    this.#claimed += bytes;
    this.#running += 1;
  }

  #fits(bytes: number): boolean {
    const toCome = Math.max(0, this.#claimed - this.#bytesInWriting()) + bytes;
    promptCacheOf(this.#model).makeRoom(toCome);
    return this.#running === 0 || this.#model.stats().freeBytes >= toCome;
  }
}
