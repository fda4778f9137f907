// SPDX-License-Identifier: Apache-2.0
// AdamW (Loshchilov and Hutter, 2019, algorithm 2) as torch.optim.AdamW computes it: decay first and apart from the
// gradient, both moments corrected for their start at zero, eps outside the root. Moments are kept as float32; one
// element is computed in float64 and rounded once, in a fixed order, so that the same gradients give the same bits.
//
// The slow reference of native/kernels/optimizer/adamw.h, which tuning runs on: both have the same bits.

export interface AdamWOptions {
  /** Decay rates of the first and second moment, from 0 to below 1. */
  betas: readonly [number, number];
  /** Added to the root of the second moment; above 0. */
  epsilon: number;
  /** Share of a value that is taken away per step, times the learning rate. */
  weightDecay: number;
}

/** What AdamW remembers between steps; by parameter, as long as its values. */
export interface AdamWState {
  /** Updates made. */
  updates: number;
  first: Float32Array[];
  second: Float32Array[];
}

export function createAdamWState(values: readonly Float32Array[]): AdamWState {
  const zeros = () => values.map((one) => new Float32Array(one.length));
  return { updates: 0, first: zeros(), second: zeros() };
}

/** base^exponent for a whole exponent, by multiplications alone: the same bits on every platform. */
function power(base: number, exponent: number): number {
  let result = 1;
  let square = base;
  for (let left = exponent; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) result *= square;
    square *= square;
  }
  return result;
}

/** One update of `values` and `state`, in place. `gradients` by parameter, as long as its values. */
export function adamWStep(
  values: readonly Float32Array[],
  gradients: readonly Float32Array[],
  state: AdamWState,
  learningRate: number,
  { betas: [beta1, beta2], epsilon, weightDecay }: AdamWOptions,
): void {
  state.updates += 1;
  const stepSize = learningRate / (1 - power(beta1, state.updates));
  const secondScale = Math.sqrt(1 - power(beta2, state.updates));
  const kept = 1 - learningRate * weightDecay;
  for (const [p, value] of values.entries()) {
    const gradient = gradients[p] as Float32Array;
    const first = state.first[p] as Float32Array;
    const second = state.second[p] as Float32Array;
    for (let i = 0; i < value.length; i++) {
      const g = gradient[i] as number;
      const m = (first[i] as number) * beta1 + g * (1 - beta1);
      const v = (second[i] as number) * beta2 + g * g * (1 - beta2);
      first[i] = m;
      second[i] = v;
      value[i] = (value[i] as number) * kept - (stepSize * m) / (Math.sqrt(v) / secondScale + epsilon);
    }
  }
}

/** Numbers whose squares are summed together, lanes that a sum goes in, and lanes that are halved together. */
const piece = 1024;
const lanes = 256;
const neighbours = 32;

/** A sum as a device makes it, in an order of its own: each lane takes every 256th term; 32 neighbours are halved. */
function sumInLanes(terms: Float64Array): number {
  const sums = new Float64Array(lanes);
  for (const [i, term] of terms.entries()) sums[i % lanes] = (sums[i % lanes] as number) + term;
  let total = 0;
  for (let first = 0; first < lanes; first += neighbours) {
    for (let half = neighbours / 2; half >= 1; half /= 2) {
      for (let l = first; l < first + half; l++) sums[l] = (sums[l] as number) + (sums[l + half] as number);
    }
    total += sums[first] as number;
  }
  return total;
}

/** The 2-norm of all gradients together, one behind the other, summed in float64 piece by piece. */
export function globalNorm(gradients: readonly Float32Array[]): number {
  const squares = new Float64Array(gradients.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const gradient of gradients) for (const g of gradient) squares[at++] = g * g;
  const sums = new Float64Array(Math.ceil(squares.length / piece));
  for (let p = 0; p < sums.length; p++) sums[p] = sumInLanes(squares.subarray(p * piece, (p + 1) * piece));
  return Math.sqrt(sumInLanes(sums));
}

/**
 * Shortens the gradients, in place, to `maxNorm` if they are longer together, as torch's clip_grad_norm_ does (with its
 * 1e-6 in the denominator). `norm` is their length, which stays what is reported.
 */
export function clipGradients(gradients: readonly Float32Array[], norm: number, maxNorm: number): void {
  const scale = maxNorm / (norm + 1e-6);
  if (!(scale < 1)) return;
  for (const gradient of gradients)
    for (let i = 0; i < gradient.length; i++) gradient[i] = (gradient[i] as number) * scale;
}
