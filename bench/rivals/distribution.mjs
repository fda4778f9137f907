// SPDX-License-Identifier: Apache-2.0
// How far one engine's next-token distribution is from the reference's. All sums are float64.
//
// The fixture holds, per row, the log-probabilities of the reference's TOP most likely tokens and the log of what
// remains. Both distributions are lumped the same way (TOP tokens + one bucket), so KL(reference || other) is
// well defined, and a lower bound of the KL over the whole vocabulary.
import { readFileSync } from "node:fs";

const readers = {
  F32: (bytes) => new Float32Array(bytes),
  I32: (bytes) => new Int32Array(bytes),
};

/** Tensors of a safetensors file by name, as `{ shape, data }`. Only F32 and I32 occur in the fixtures. */
export function readSafetensors(file) {
  const bytes = readFileSync(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes));
  delete header.__metadata__;
  return Object.fromEntries(
    Object.entries(header).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [begin, end],
        },
      ]) => {
        const start = bytes.byteOffset + 8 + headerBytes;
        return [name, { shape, data: readers[dtype](bytes.buffer.slice(start + begin, start + end)) }];
      },
    ),
  );
}

/** log(sum(exp(logits))) of all entries, natural log. */
export function logSumExp(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  return largest + Math.log(logits.reduce((sum, value) => sum + Math.exp(value - largest), 0));
}

/**
 * KL(reference || other) in nats of one row.
 * @param {{ ids: Int32Array, logprobs: Float32Array, tail: number }} reference TOP tokens, their ln p, ln of the rest
 * @param {Float32Array | Float64Array} logits [V] of the other engine
 */
export function lumpedKl(reference, logits) {
  const normalizer = logSumExp(logits);
  const rest = Float64Array.from(logits);
  let kl = 0;
  reference.ids.forEach((id, i) => {
    const ln = reference.logprobs[i];
    kl += Math.exp(ln) * (ln - (logits[id] - normalizer));
    rest[id] = -Infinity;
  });
  return kl + Math.exp(reference.tail) * (reference.tail - (logSumExp(rest) - normalizer));
}

/** ||other - reference|| / ||reference||. */
export function relativeL2(reference, other) {
  let difference = 0;
  let norm = 0;
  reference.forEach((value, i) => {
    difference += (other[i] - value) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(difference / norm);
}

export function summary(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  const mean = sorted.reduce((a, b) => a + b, 0) / sorted.length;
  return { mean, median, max: sorted[sorted.length - 1], rows: sorted.length };
}
