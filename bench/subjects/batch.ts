// SPDX-License-Identifier: Apache-2.0
// Sequences that decode in one batch, ours: each behind rows of its own, or all behind the same ones. Batch sizes take
// turns, so that how much more several give than one is of one clock.
import type { Samples, Task, TrialSettings } from "../contract.js";
import { cached, generate, open, rateTogether, type Segment } from "./engine.js";

export async function measureBatch(
  task: Task & { kind: "batch" },
  settings: TrialSettings,
): Promise<Samples> {
  const { context, shared, counts, tokens, repetitions } = task;
  const { model } = await open(settings);
  const most = Math.max(...counts);
  const contexts: Segment[] = [];
  for (let at = 0; at < (shared ? 1 : most); at++) contexts.push(await cached(model, context, at + 1));
  const together = async (count: number): Promise<number> => {
    const origin = performance.now();
    const outputs = Array.from({ length: count }, (_, at) => {
      const read = contexts[shared ? 0 : at] as Segment;
      return generate(model, { read, rows: context, opener: 1, count: tokens + 1, origin });
    });
    return rateTogether(await Promise.all(outputs), tokens + 1);
  };
  const samples: Samples = Object.fromEntries(counts.map((count) => [`decode-${count}`, []]));
  const gains: number[] = [];
  const peaks: number[] = [];
  for (let turn = -1; turn < repetitions; turn++) {
    const rates = new Map<number, number>();
    for (const count of counts) {
      rates.set(count, await together(count));
      peaks.push(model.stats().peakBytes);
    }
    if (turn < 0) continue;
    for (const [count, rate] of rates) samples[`decode-${count}`]?.push(rate);
    const [one, eight] = [rates.get(1), rates.get(8)];
    if (one !== undefined && eight !== undefined) gains.push(eight / one);
  }
  await model.close();
  // Of the first turn: what one needed at most is seen before others come.
  const [least, all] = [peaks[0] ?? 0, peaks[counts.length - 1] ?? 0];
  if (shared && least > 0) samples["kv-growth"] = [all / least];
  return gains.length > 0 ? { ...samples, gain: gains } : samples;
}
