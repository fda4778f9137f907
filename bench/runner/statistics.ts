// SPDX-License-Identifier: Apache-2.0
// Medians, because one disturbed sample must not move a figure; minimum and maximum beside them, because a median
// alone hides how noisy it is.

export interface Spread {
  median: number;
  min: number;
  max: number;
  n: number;
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, one) => sum + one, 0) / values.length;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("median of no values");
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[(sorted.length >> 1) - 1] as number) + upper) / 2;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), n: values.length };
}

export interface Trial {
  value: number;
  /** Something else used the machine before or while it ran. */
  disturbed: boolean;
}

/** Over the quiet trials if there are any, else over all; `disturbed` counts the trials that were not quiet. */
export function spreadOfTrials(trials: readonly Trial[]): Spread & { disturbed: number } {
  const quiet = trials.filter((trial) => !trial.disturbed);
  const used = quiet.length > 0 ? quiet : trials;
  return { ...spread(used.map((trial) => trial.value)), disturbed: trials.length - quiet.length };
}

/** How many times better `own` is than `other`: above 1 is better, whichever direction better is. */
export function timesBetter(own: number, other: number, better: "higher" | "lower"): number {
  return better === "higher" ? own / other : other / own;
}

/**
 * How many times better we were, turn by turn: both sides of a turn met the same clock, which medians over all turns
 * need not have. Turns that `quiet` refuses on either side are left out, unless that leaves none. Null: no common turn.
 */
export function pairedRatio<T extends { value: number }>(
  own: readonly T[],
  other: readonly T[],
  better: "higher" | "lower",
  quiet: (turn: T) => boolean,
): Spread | null {
  const pairs = own.flatMap((mine, turn) => {
    const theirs = other[turn];
    return theirs === undefined ? [] : [{ mine, theirs }];
  });
  const undisturbed = pairs.filter(({ mine, theirs }) => quiet(mine) && quiet(theirs));
  const used = undisturbed.length > 0 ? undisturbed : pairs;
  if (used.length === 0) return null;
  return spread(used.map(({ mine, theirs }) => timesBetter(mine.value, theirs.value, better)));
}
