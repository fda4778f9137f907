// SPDX-License-Identifier: Apache-2.0
// Models for speed alone: the shapes of published ones, in any weight type, with random weights. Speed does not depend on
// values, and so no type needs a download of its own.

export interface Shape {
  layers: number;
  hidden: number;
  ffn: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocab: number;
  contextLength: number;
  ropeTheta: number;
}

export const shapes = {
  "smollm2-135m": {
    layers: 30,
    hidden: 576,
    ffn: 1536,
    heads: 9,
    kvHeads: 3,
    headDim: 64,
    vocab: 49152,
    contextLength: 8192,
    ropeTheta: 100_000,
  },
  "llama32-1b": {
    layers: 16,
    hidden: 2048,
    ffn: 8192,
    heads: 32,
    kvHeads: 8,
    headDim: 64,
    vocab: 128_256,
    contextLength: 131_072,
    ropeTheta: 500_000,
  },
  "llama32-3b": {
    layers: 28,
    hidden: 3072,
    ffn: 8192,
    heads: 24,
    kvHeads: 8,
    headDim: 128,
    vocab: 128_256,
    contextLength: 131_072,
    ropeTheta: 500_000,
  },
  "llama3-8b": {
    layers: 32,
    hidden: 4096,
    ffn: 14_336,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
    vocab: 128_256,
    contextLength: 131_072, // as the later releases of the same shape have it
    ropeTheta: 500_000,
  },
} as const satisfies Record<string, Shape>;

export type ShapeName = keyof typeof shapes;
export const shapeNames = Object.keys(shapes) as ShapeName[];
/** Those that the suite cpu runs when none are named. */
export const cpuShapeNames: readonly ShapeName[] = ["smollm2-135m", "llama32-1b"];

/** How GGUF stores a type: its number there and in `general.file_type`, and the bytes of one block. */
export interface WeightType {
  id: number;
  fileType: number;
  blockElements: number;
  blockBytes: number;
}

export const weightTypes = {
  F32: { id: 0, fileType: 0, blockElements: 1, blockBytes: 4 },
  F16: { id: 1, fileType: 1, blockElements: 1, blockBytes: 2 },
  BF16: { id: 30, fileType: 32, blockElements: 1, blockBytes: 2 },
  Q8_0: { id: 8, fileType: 7, blockElements: 32, blockBytes: 34 },
  Q4_0: { id: 2, fileType: 2, blockElements: 32, blockBytes: 18 },
  Q4_1: { id: 3, fileType: 3, blockElements: 32, blockBytes: 20 },
} as const satisfies Record<string, WeightType>;

export type WeightTypeName = keyof typeof weightTypes;
export const weightTypeNames = Object.keys(weightTypes) as WeightTypeName[];

/** A speed model by name. */
export interface SpeedModel {
  shape: ShapeName;
  type: WeightTypeName;
}

export interface Tensor {
  name: string;
  /** Row-major, slowest first: [out, in] of a weight. */
  shape: readonly number[];
  /** `null`: a norm, float32 ones. */
  type: WeightTypeName | null;
}

/** In file order; the head is the embedding. */
export function tensorsOf(shape: Shape, type: WeightTypeName): Tensor[] {
  const { hidden, ffn } = shape;
  const queries = shape.heads * shape.headDim;
  const keys = shape.kvHeads * shape.headDim;
  const weight = (name: string, out: number, from: number): Tensor => ({ name, shape: [out, from], type });
  const norm = (name: string): Tensor => ({ name, shape: [hidden], type: null });
  const layers = Array.from({ length: shape.layers }, (_, at) => `blk.${at}`).flatMap((layer) => [
    norm(`${layer}.attn_norm.weight`),
    weight(`${layer}.attn_q.weight`, queries, hidden),
    weight(`${layer}.attn_k.weight`, keys, hidden),
    weight(`${layer}.attn_v.weight`, keys, hidden),
    weight(`${layer}.attn_output.weight`, hidden, queries),
    norm(`${layer}.ffn_norm.weight`),
    weight(`${layer}.ffn_gate.weight`, ffn, hidden),
    weight(`${layer}.ffn_up.weight`, ffn, hidden),
    weight(`${layer}.ffn_down.weight`, hidden, ffn),
  ]);
  return [weight("token_embd.weight", shape.vocab, hidden), ...layers, norm("output_norm.weight")];
}

export function tensorBytes({ shape, type }: Tensor): number {
  const elements = shape.reduce((product, one) => product * one, 1);
  const { blockElements, blockBytes } = weightTypes[type ?? "F32"];
  return (elements / blockElements) * blockBytes;
}
