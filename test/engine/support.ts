// SPDX-License-Identifier: Apache-2.0
// The engine as its own tests drive it: segments written by name from lists in the form of the seam, logits collected.
// It goes through EngineClient, so that the events of the addon are part of what is tested.

import { loadModel } from "../../src/index.js";
import { resolvePrompt } from "../../src/model/prompt.js";
import { EngineClient } from "../../src/native/engine-client.js";
import type { GenerateSpec, NativeModelOptions, SegmentHandle, SegmentKind } from "../../src/native/types.js";
import type { Matrix } from "../helpers/fixtures.js";
import { fixturePath } from "../helpers/fixtures.js";

/** One entry of the segment lists in facts.json. */
export interface ListedSegment {
  name: string;
  start: number;
  reads: { segment: string; rows: number; shift: number }[];
}

/** Token ids, or soft rows [count, hidden]. */
export type Content = Int32Array | Float32Array;

/** Exact arithmetic and exact storage, one thread: what references are compared with. */
export const exact: NativeModelOptions = {
  threads: 1,
  cacheBytes: 64 << 20,
  indexBytes: 0, // what is compared must have been computed
  kvType: "f32",
  activations: "float32",
  batchInvariant: true,
  maxBatchRows: 512,
  drafting: "off",
};

/** `type` as in the file names of fixtures/tiny-llama. */
export function openTiny(type: string, options: Partial<NativeModelOptions> = {}): Promise<EngineClient> {
  const path = fixturePath(`tiny-llama/tiny-${type}.gguf`);
  return EngineClient.open(path, `tiny-${type}`, { ...exact, cacheBytes: 8 << 20, ...options });
}

/** `file` of fixtures/families. */
export function openFamily(file: string, options: Partial<NativeModelOptions> = {}): Promise<EngineClient> {
  const path = fixturePath(`families/${file}`);
  return EngineClient.open(path, file, { ...exact, cacheBytes: 16 << 20, ...options });
}

/** A folder as Hugging Face stores models, by its path. */
export function openFolder(path: string, options: Partial<NativeModelOptions> = {}): Promise<EngineClient> {
  return EngineClient.open(path, "folder", { ...exact, cacheBytes: 16 << 20, ...options });
}

/** SmolLM2-135M-Instruct through the resolver. */
export function openSmol(options: Partial<NativeModelOptions> = {}) {
  return loadModel("smollm2-135m-instruct", { ...exact, threads: 2, batchInvariant: false, ...options });
}

/** Rows [count, hidden] of a PEFT folder below test/fixtures, through the importer. */
export async function peftRows(folder: string, model: Awaited<ReturnType<typeof openSmol>>) {
  const { hidden } = model.info;
  const { rows } = await resolvePrompt(fixturePath(folder), { hidden, tokenizer: model.tokenizer });
  if (rows === undefined) throw new Error(`${folder} gave no rows`);
  return rows;
}

export const kindOf = (name: string): SegmentKind =>
  name.startsWith("P_") ? "prompt" : name.startsWith("O_") ? "output" : "input";

const contentOf = (content: Content) =>
  content instanceof Int32Array ? { tokens: content } : { rows: content };

export interface Outcome {
  /** [rows, vocab] of all logits handed out. */
  logits: Float32Array;
  tokens: number[];
  reason: string;
  pending: number;
}

/** One job, with everything it handed out. */
export async function run(
  engine: EngineClient,
  appends: readonly { segment: SegmentHandle; content: Content }[],
  options: { logits?: "none" | "last" | "all"; generate?: GenerateSpec; signal?: AbortSignal } = {},
): Promise<Outcome> {
  const { logits: wanted = "all", generate, signal } = options;
  const parts: Float32Array[] = [];
  const tokens: number[] = [];
  const { reason, pending } = await engine.run(
    {
      appends: appends.map(({ segment, content }) => ({ segment, ...contentOf(content) })),
      logits: wanted,
      ...(generate === undefined ? {} : { generate }),
    },
    {
      ...(signal === undefined ? {} : { signal }),
      onLogits: (_, data) => parts.push(data),
      onTokens: (ids) => tokens.push(...ids),
    },
  );
  return { logits: concatenated(parts), tokens, reason, pending };
}

export function concatenated(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export const plainSegment = { kind: "input", start: 0, reads: [] } as const;

/** Logits [rows, vocab] of a text at positions 0 .. n - 1 that reads nothing. */
export async function logitsOfText(engine: EngineClient, tokens: Int32Array): Promise<Matrix> {
  const segment = engine.createSegment({ ...plainSegment, reads: [] });
  const { logits } = await run(engine, [{ segment, content: tokens }]);
  engine.releaseSegment(segment);
  return { rows: tokens.length, columns: engine.info().vocab, data: logits };
}

/** Writes a list of segments in order, one job each, and returns the logits [rows, vocab] of each by name. */
export async function writeList(
  engine: EngineClient,
  list: readonly ListedSegment[],
  contents: ReadonlyMap<string, Content>,
): Promise<Map<string, Float32Array>> {
  const handles = new Map<string, SegmentHandle>();
  const found = new Map<string, Float32Array>();
  for (const { name, start, reads } of list) {
    const segment = engine.createSegment({
      kind: kindOf(name),
      start,
      reads: reads.map((read) => ({ ...read, segment: handles.get(read.segment) as SegmentHandle })),
    });
    handles.set(name, segment);
    const { logits } = await run(engine, [{ segment, content: contents.get(name) as Content }]);
    engine.closeSegment(segment);
    found.set(name, logits);
  }
  for (const segment of handles.values()) engine.releaseSegment(segment);
  return found;
}

export const greedy = (maxTokens: number): GenerateSpec => ({
  sampler: { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 1 },
  closers: new Int32Array(),
  stops: [],
  maxTokens,
});
