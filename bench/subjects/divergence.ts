// SPDX-License-Identifier: Apache-2.0
// How far our next-token distributions are from the reference's, by every way that a row can take: all rows of a chunk at
// once (what prefill does), one row at a time (what decode does), and behind KV of other formats.
import type { Samples, Task, TrialSettings } from "../contract.js";
import { agreement, ReferenceFile } from "../divergence/reference-file.js";
import { mean } from "../runner/statistics.js";
import { type Model, open, type Segment } from "./engine.js";

interface Path {
  /** Suffix of the metrics. */
  name: string;
  options: NonNullable<Parameters<typeof open>[1]>;
  oneByOne?: boolean;
}

/** The first is what users get. */
export const paths: readonly Path[] = [
  { name: "", options: {} },
  { name: "-one-by-one", options: {}, oneByOne: true },
  { name: "-invariant", options: { batchInvariant: true } },
  { name: "-bf16-kv", options: { kvType: "bf16" } },
  { name: "-int8-kv", options: { kvType: "int8" } },
];

async function logitsOf(model: Model, segment: Segment, tokens: Int32Array, which: "last" | "all") {
  const parts: Float32Array[] = [];
  const onLogits = (_: number, data: Float32Array) => parts.push(data);
  await model.engine.run({ appends: [{ segment, tokens }], logits: which }, { onLogits });
  const { vocab } = model.info;
  return parts.flatMap((data) =>
    Array.from({ length: data.length / vocab }, (_, row) => data.subarray(row * vocab, (row + 1) * vocab)),
  );
}

/** Logits after the rows first .. rows-2 of a chunk, in order. */
async function* scoredLogits(model: Model, file: ReferenceFile, chunk: number, oneByOne: boolean) {
  const tokens = file.tokens(chunk);
  const segment = model.engine.createSegment({ kind: "input", start: 0, reads: [] });
  const before = tokens.slice(0, file.first);
  await model.engine.run({ appends: [{ segment, tokens: before }], logits: "none" });
  const scored = tokens.slice(file.first, -1);
  const pieces = oneByOne ? Array.from(scored, (id) => Int32Array.of(id)) : [scored];
  for (const piece of pieces) yield* await logitsOf(model, segment, piece, oneByOne ? "last" : "all");
  model.engine.releaseSegment(segment);
}

/** Mean KL in thousandths of a nat, and rows with the same likeliest token in percent, by path. */
export async function measureDivergence(
  task: Task & { kind: "divergence" },
  settings: TrialSettings,
): Promise<Samples> {
  if (settings.reference === undefined) throw new Error("the trial was given no reference");
  const file = new ReferenceFile(settings.reference);
  const samples: Samples = {};
  for (const { name, options, oneByOne = false } of paths) {
    if (!task.paths.includes(name)) continue;
    const { model } = await open(settings, options);
    const all = [];
    for (let chunk = 0; chunk < file.chunks; chunk++) {
      let at = 0;
      for await (const logits of scoredLogits(model, file, chunk, oneByOne))
        all.push(agreement(file.distribution(chunk, at++), logits));
    }
    await model.close();
    if (all.length !== file.chunks * file.scored) throw new Error(`${all.length} rows came back`);
    samples[`kl${name}`] = [1000 * mean(all.map(({ kl }) => kl))];
    samples[`top${name}`] = [(100 * all.filter(({ sameTop }) => sameTop).length) / all.length];
  }
  file.close();
  return samples;
}
