// SPDX-License-Identifier: Apache-2.0
// Paired bootstrap (Efron and Tibshirani, 1993): two variants are scored on the same items, so items are drawn with
// replacement and the difference of the means is taken over the drawn ones. The interval is that of the percentiles;
// drawing is seeded, so a page is made the same way twice.
import { mean } from "../runner/statistics.js";

export interface Interval {
  /** On the items as they are. */
  mean: number;
  low: number;
  high: number;
}

export const resamples = 10_000;
const coverage = 0.95;

/** Uniform whole numbers below `bound`: Marsaglia's xorshift32, the high part of the product with the bound. */
function drawing(seed: number): (bound: number) => number {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

/** Between the two neighbours in proportion, as numpy does by default. `sorted` is not empty. */
export function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const low = sorted[below] as number;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] as number;
  return low + (high - low) * (at - below);
}

/** Mean of `values` with its interval. Throws RangeError for no values. */
export function bootstrapMean(values: readonly number[], seed = 1, count = resamples): Interval {
  if (values.length === 0) throw new RangeError("bootstrap of no values");
  const draw = drawing(seed);
  const means = Float64Array.from({ length: count }, () => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[draw(values.length)] as number;
    return sum / values.length;
  }).sort();
  const tail = (1 - coverage) / 2;
  return { mean: mean(values), low: quantile(means, tail), high: quantile(means, 1 - tail) };
}

/** Of `own` minus `other`, item by item. Throws RangeError if they are not of the same items. */
export function pairedDifference(own: readonly number[], other: readonly number[], seed = 1): Interval {
  if (own.length !== other.length) {
    throw new RangeError(`${own.length} items cannot be compared with ${other.length}`);
  }
  return bootstrapMean(
    own.map((one, at) => one - (other[at] as number)),
    seed,
  );
}

/** By item, over runs that scored the same items. */
export function meanByItem(runs: readonly (readonly number[])[]): number[] {
  const [first = []] = runs;
  return first.map((_, at) => runs.reduce((sum, one) => sum + (one[at] ?? Number.NaN), 0) / runs.length);
}
