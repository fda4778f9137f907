// SPDX-License-Identifier: Apache-2.0
// Which items a step works on. Every epoch takes all items once, in an order of its own; its last step takes what is
// left, however few. The order of an epoch follows from the generator's state at its start alone, so where a run
// stands is three numbers and four words.

import type { RandomState } from "./random.js";
import { Random, randomState } from "./random.js";

export interface OrderState {
  /** Counted from 0. */
  epoch: number;
  /** Items of the epoch that are done. */
  position: number;
  /** Of the generator before it shuffles this epoch. */
  random: RandomState;
}

export interface Batch {
  /** Indices of the items. */
  items: Uint32Array;
  /** Counted from 0. */
  epoch: number;
  endsEpoch: boolean;
}

export const firstOrder = (seed: number): OrderState => ({
  epoch: 0,
  position: 0,
  random: randomState(seed),
});

export class BatchOrder {
  readonly #count: number;
  readonly #itemsPerStep: number;
  readonly #shuffle: boolean;
  #state: OrderState;
  #order: Uint32Array;
  /** The generator's state after the shuffle of this epoch. */
  #after: RandomState;

  /** `count` items, at least one. Without `shuffle` every epoch takes them as they come. */
  constructor(count: number, itemsPerStep: number, shuffle: boolean, state: OrderState) {
    this.#count = count;
    this.#itemsPerStep = itemsPerStep;
    this.#shuffle = shuffle;
    this.#state = state;
    [this.#order, this.#after] = this.#orderOf(state.random);
  }

  get state(): OrderState {
    return this.#state;
  }

  #orderOf(state: RandomState): [Uint32Array, RandomState] {
    if (!this.#shuffle) return [Uint32Array.from({ length: this.#count }, (_, i) => i), state];
    const random = new Random(state);
    return [random.permutation(this.#count), random.state];
  }

  /** The items of the step that is next. */
  current(): Batch {
    const { epoch, position } = this.#state;
    const end = Math.min(position + this.#itemsPerStep, this.#count);
    return { items: this.#order.slice(position, end), epoch, endsEpoch: end === this.#count };
  }

  /** The step is made. */
  advance(): void {
    const { epoch, position, random } = this.#state;
    const end = position + this.#itemsPerStep;
    if (end < this.#count) {
      this.#state = { epoch, position: end, random };
      return;
    }
    this.#state = { epoch: epoch + 1, position: 0, random: this.#after };
    [this.#order, this.#after] = this.#orderOf(this.#after);
  }
}

/** Neighbouring parts of at most `size` items, for what is computed at once. */
export function inParts<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}
