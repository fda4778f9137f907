// SPDX-License-Identifier: Apache-2.0
// The random numbers of a training run: xoshiro128** (Blackman and Vigna, 2018), its state filled from the seed by
// splitmix32. The state is four words, so a run that goes on from a checkpoint draws what it would have drawn; nothing
// else of the process draws from it.

/** Four words; not all zero. */
export type RandomState = readonly [number, number, number, number];

const rotl = (x: number, k: number): number => (x << k) | (x >>> (32 - k));

/** The state that belongs to a seed (its lowest 32 bits). */
export function randomState(seed: number): RandomState {
  let x = seed >>> 0;
  const word = (): number => {
    x = (x + 0x9e3779b9) >>> 0;
    let z = x;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
  // The mixer is a bijection of different words, so at most one of the four is zero.
  return [word(), word(), word(), word()];
}

export class Random {
  #state: [number, number, number, number];

  constructor(state: RandomState) {
    this.#state = [...state];
  }

  get state(): RandomState {
    return [...this.#state];
  }

  /** A whole number from 0 to 2^32 - 1. */
  next(): number {
    const s = this.#state;
    const result = Math.imul(rotl(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 11);
    for (let i = 0; i < 4; i++) s[i] = (s[i] as number) >>> 0;
    return result;
  }

  /** A whole number from 0 to `bound` - 1, each as likely: draws beyond the last whole multiple are thrown away. */
  below(bound: number): number {
    const limit = 2 ** 32 - (2 ** 32 % bound);
    for (;;) {
      const drawn = this.next();
      if (drawn < limit) return drawn % bound;
    }
  }

  /** The numbers 0 to `count` - 1 in random order (Fisher and Yates, from the end). */
  permutation(count: number): Uint32Array {
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let last = count - 1; last > 0; last--) {
      const other = this.below(last + 1);
      const kept = order[last] as number;
      order[last] = order[other] as number;
      order[other] = kept;
    }
    return order;
  }
}
