// SPDX-License-Identifier: Apache-2.0
// Losses of training items by inference alone: prompts as soft rows, live rows as ordinary segments, and the cross
// entropy taken from the logits. Slow and obvious; it shares nothing with the training step but the step itself.

import type { Model } from "../../src/index.js";
import type { NativeTrainStep, SegmentHandle } from "../../src/native/types.js";

/** By item: sum of the cross entropies (natural log) of its scored rows. */
export async function inferenceLosses({ engine, info }: Model, step: NativeTrainStep): Promise<number[]> {
  const prompts: SegmentHandle[] = [];
  for (const { start, rows } of step.prompts) {
    const segment = engine.createSegment({ kind: "prompt", start, reads: [] });
    await engine.run({ appends: [{ segment, rows: rows as Float32Array, close: true }], logits: "none" });
    prompts.push(segment);
  }
  const losses: number[] = [];
  for (const item of step.items) {
    const live: SegmentHandle[] = [];
    let sum = 0;
    for (const { kind, start, tokens, labels, reads } of item.segments) {
      const handleOf = (read: (typeof reads)[number]) =>
        read.segment ?? prompts[read.prompt ?? -1] ?? live[read.live ?? -1];
      const segment = engine.createSegment({
        kind,
        start,
        reads: reads.map((read) => ({
          segment: handleOf(read) as SegmentHandle,
          rows: read.rows,
          shift: read.shift,
        })),
      });
      live.push(segment);
      let row = 0;
      const onLogits = (rows: number, data: Float32Array) => {
        for (let at = 0; at < rows; at++, row++) {
          const label = labels[row] as number;
          if (label >= 0) sum += crossEntropy(data.subarray(at * info.vocab, (at + 1) * info.vocab), label);
        }
      };
      await engine.run({ appends: [{ segment, tokens, close: true }], logits: "all" }, { onLogits });
      if (row !== tokens.length) throw new Error(`${row} rows of logits for ${tokens.length} rows`);
    }
    for (const segment of live) engine.releaseSegment(segment);
    losses.push(sum);
  }
  for (const segment of prompts) engine.releaseSegment(segment);
  return losses;
}

/** -log softmax(logits)[label] in float64. */
function crossEntropy(logits: Float32Array, label: number): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const one of logits) largest = Math.max(largest, one);
  let sum = 0;
  for (const one of logits) sum += Math.exp(one - largest);
  return Math.log(sum) + largest - (logits[label] as number);
}
