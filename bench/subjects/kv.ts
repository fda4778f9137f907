// SPDX-License-Identifier: Apache-2.0
// Decoding behind int8 KV and behind f16 KV, in turns. Of long contexts the first rows are computed and stand there again
// and again: how long attention takes depends on how many rows there are, not on what they say.
import type { Samples, Task, TrialSettings } from "../contract.js";
import { cached, generate, type Model, open, rate, type Segment } from "./engine.js";

/** Rows that are computed; whole blocks of the pool. */
const computedRows = 1024;
const kvTypes = ["f16", "int8"] as const;

interface Context {
  segment: Segment;
  bytes: number;
}

async function context(model: Model, rows: number): Promise<Context> {
  if (rows <= 2 * computedRows) {
    const segment = await cached(model, rows);
    return { segment, bytes: model.engine.segmentInfo(segment).bytes };
  }
  const times = rows / computedRows;
  if (!Number.isInteger(times)) throw new Error(`${rows} rows are no multiple of ${computedRows}`);
  const piece = await cached(model, computedRows);
  const { bytes } = model.engine.segmentInfo(piece);
  const kv = await model.engine.exportSegment(piece);
  model.engine.releaseSegment(piece);
  const all = new Uint8Array(times * kv.length);
  for (let at = 0; at < times; at++) all.set(kv, at * kv.length);
  const spec = { kind: "input", start: 0, rows, name: "repeated" } as const;
  return { segment: await model.engine.importSegment(spec, all), bytes: times * bytes };
}

export async function measureKv(task: Task & { kind: "kv" }, settings: TrialSettings): Promise<Samples> {
  const opened = [];
  for (const kvType of kvTypes) {
    const { model } = await open(settings, { kvType });
    opened.push({ kvType, model, context: await context(model, task.context) });
  }
  const rates: Record<(typeof kvTypes)[number], number[]> = { f16: [], int8: [] };
  for (let turn = -1; turn < task.repetitions; turn++) {
    for (const { kvType, model, context } of opened) {
      const output = { read: context.segment, rows: task.context, opener: 1, count: task.tokens + 1 };
      const value = rate((await generate(model, output)).arrivals);
      if (turn >= 0) rates[kvType].push(value);
    }
  }
  const [f16, int8] = opened.map((one) => one.context.bytes) as [number, number];
  for (const { model } of opened) await model.close();
  return {
    "decode-f16": rates.f16,
    "decode-int8": rates.int8,
    gain: rates.int8.map((one, at) => one / (rates.f16[at] as number)),
    "kv-bytes": [int8 / f16],
  };
}
