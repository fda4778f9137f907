// SPDX-License-Identifier: Apache-2.0
// The part of the seam (types.ts) that describes models: what a file says, and what became of it in memory.

/** Number formats of stored K and V; of int8, every row and kv head has a scale of its own in f16. */
export type KvType = "f32" | "f16" | "bf16" | "int8";
/** What a model is opened on; `cuda` is the first CUDA device. */
export type Device = "auto" | "cpu" | "cuda" | `cuda:${number}`;
export type IsaName = "scalar" | "avx2" | "avx512" | "amx";

/** A GGUF metadata value. Arrays of numbers arrive as number[] (bigint beyond 2^53), arrays of strings as string[]. */
export type MetadataValue = string | number | bigint | boolean | MetadataValue[];

export interface TensorInfo {
  name: string;
  /** GGUF type name: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K. */
  type: string;
  /** Row-major shape, slowest dimension first: a weight is [out, in]. */
  shape: number[];
  bytes: number;
}

export interface ModelFileInfo {
  /** Other formats than GGUF appear in its terms: metadata keys, names of tensors. */
  format: "gguf" | "safetensors";
  /** 0 for formats without one. */
  version: number;
  /** Of all files together. */
  fileBytes: number;
  metadata: Record<string, MetadataValue>;
  tensors: TensorInfo[];
}

export interface ModelInfo {
  family: string;
  layers: number;
  /** Model width M. */
  hidden: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  ffn: number;
  vocab: number;
  /** Most positions of a frame, as trained. */
  contextLength: number;
  /** Base of the rotary frequencies; layers with a window may have another. */
  ropeTheta: number;
  normEpsilon: number;
  parameters: number;
  weightBytes: number;
  /** Most frequent weight type by bytes, e.g. "Q4_1". */
  weightType: string;
  /** SHA-256, hex, over the header and sampled pages of every tensor. */
  contentHash: string;
  kvType: KvType;
  kvBytesPerRow: number;
  blockRows: number;
  blockBytes: number;
  threads: number;
  isa: IsaName;
  /** What the model runs on, "cpu" or "cuda:0", its name, and why it does. */
  device: "cpu" | `cuda:${number}`;
  deviceName: string;
  deviceWhy: string;
}
