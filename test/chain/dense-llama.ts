// SPDX-License-Identifier: Apache-2.0
// A llama forward written for being obviously right: every row of every segment side by side, one dense mask, float64
// sums, no cache. Attention takes, for each visible pair, the distance between the two rows in the reader's frame:
// score(i, j) = R(distance) q_i . k_j / sqrt(D), because rotary scores depend on distances only.
//
// R rows, M hidden, H heads, G kv heads, D head dim, F ffn, V vocab. Weights [out, in], row-major.

import { readFileSync } from "node:fs";
import type { ModelFileInfo } from "../../src/native/types.js";

export interface DenseModel {
  hidden: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocab: number;
  ropeTheta: number;
  epsilon: number;
  layers: Record<string, Float32Array>[];
  embedding: Float32Array;
  outputNorm: Float32Array;
}

const alignment = 32;
const layerTensors = [
  "attn_norm",
  "attn_q",
  "attn_k",
  "attn_v",
  "attn_output",
  "ffn_norm",
  "ffn_gate",
  "ffn_up",
  "ffn_down",
] as const;

/** Reads an F32 file with tied embeddings. Tensors follow each other in the order of the header, padded to 32 bytes. */
export function readDenseModel(path: string, file: ModelFileInfo): DenseModel {
  const bytes = readFileSync(path);
  const padded = (one: { bytes: number }) => Math.ceil(one.bytes / alignment) * alignment;
  let offset = bytes.byteLength - file.tensors.reduce((sum, one) => sum + padded(one), 0);
  const tensors = new Map<string, Float32Array>();
  for (const tensor of file.tensors) {
    if (tensor.type !== "F32") throw new Error(`${tensor.name} is ${tensor.type}, not F32`);
    tensors.set(
      tensor.name,
      new Float32Array(new Uint8Array(bytes.subarray(offset, offset + tensor.bytes)).buffer),
    );
    offset += padded(tensor);
  }
  const number = (key: string) => file.metadata[`llama.${key}`] as number;
  const take = (name: string) => {
    const found = tensors.get(name);
    if (found === undefined) throw new Error(`${name} is missing`);
    return found;
  };
  const embedding = take("token_embd.weight");
  return {
    hidden: number("embedding_length"),
    heads: number("attention.head_count"),
    kvHeads: number("attention.head_count_kv"),
    headDim: number("attention.key_length"),
    vocab: embedding.length / number("embedding_length"),
    ropeTheta: number("rope.freq_base"),
    epsilon: number("attention.layer_norm_rms_epsilon"),
    layers: Array.from({ length: number("block_count") }, (_, layer) =>
      Object.fromEntries(layerTensors.map((name) => [name, take(`blk.${layer}.${name}.weight`)])),
    ),
    embedding,
    outputNorm: take("output_norm.weight"),
  };
}

/** y [out] = W [out, in] x [in] */
function multiply(weight: Float32Array, x: ArrayLike<number>): Float64Array {
  const inputs = x.length;
  const y = new Float64Array(weight.length / inputs);
  for (let o = 0; o < y.length; o++) {
    let sum = 0;
    for (let i = 0; i < inputs; i++) sum += (weight[o * inputs + i] as number) * (x[i] as number);
    y[o] = sum;
  }
  return y;
}

function rmsNorm(x: Float64Array, weight: Float32Array, epsilon: number): Float64Array {
  const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
  return x.map((v, i) => (v / Math.sqrt(mean + epsilon)) * (weight[i] as number));
}

const add = (a: Float64Array, b: Float64Array) => a.map((v, i) => v + (b[i] as number));

const turns = new Map<number, Float64Array>();

/** cos, sin of every pair of a head at a position, [D]. */
function turnOf({ headDim, ropeTheta }: DenseModel, position: number): Float64Array {
  let turn = turns.get(position);
  if (turn === undefined) {
    turn = new Float64Array(headDim);
    for (let i = 0; i < headDim; i += 2) {
      const angle = position * ropeTheta ** (-i / headDim);
      turn[i] = Math.cos(angle);
      turn[i + 1] = Math.sin(angle);
    }
    turns.set(position, turn);
  }
  return turn;
}

/** The heads of one row rotated by `position`: GGUF's llama has each rotary pair in adjacent places. */
function rotate(model: DenseModel, x: Float64Array, position: number): Float64Array {
  const turn = turnOf(model, position);
  const out = new Float64Array(x.length);
  for (let i = 0; i < x.length; i += 2) {
    const [a, b] = [x[i] as number, x[i + 1] as number];
    const pair = i % model.headDim;
    const [cos, sin] = [turn[pair] as number, turn[pair + 1] as number];
    out[i] = a * cos - b * sin;
    out[i + 1] = a * sin + b * cos;
  }
  return out;
}

/** Output of attention for one row. `distance` [R]: null for a row that it does not see. */
function attend(
  model: DenseModel,
  query: Float64Array,
  keys: Float64Array[],
  values: Float64Array[],
  distance: (number | null)[],
): Float64Array {
  const { heads, kvHeads, headDim } = model;
  const out = new Float64Array(query.length);
  const seen = distance.flatMap((one, row) =>
    one === null ? [] : [{ row, rotated: rotate(model, query, one) }],
  );
  for (let head = 0; head < heads; head++) {
    const kv = Math.floor(head / (heads / kvHeads)) * headDim;
    const scores = seen.map(({ row, rotated }) => {
      let dot = 0;
      for (let d = 0; d < headDim; d++) {
        dot += (rotated[head * headDim + d] as number) * ((keys[row] as Float64Array)[kv + d] as number);
      }
      return dot / Math.sqrt(headDim);
    });
    const highest = Math.max(...scores);
    const weights = scores.map((one) => Math.exp(one - highest));
    const total = weights.reduce((sum, one) => sum + one, 0);
    seen.forEach(({ row }, index) => {
      for (let d = 0; d < headDim; d++) {
        const value = (values[row] as Float64Array)[kv + d] as number;
        out[head * headDim + d] =
          (out[head * headDim + d] as number) + ((weights[index] as number) / total) * value;
      }
    });
  }
  return out;
}

/** Logits [R][V]. `rows`: what stands in each row, [R][M]; `distance`: [R][R]. */
export function denseLogits(
  model: DenseModel,
  rows: readonly ArrayLike<number>[],
  distance: readonly (number | null)[][],
): Float64Array[] {
  let state = rows.map((row) => Float64Array.from(row));
  for (const layer of model.layers) {
    const weight = (name: (typeof layerTensors)[number]) => layer[name] as Float32Array;
    const normed = state.map((x) => rmsNorm(x, weight("attn_norm"), model.epsilon));
    const queries = normed.map((x) => multiply(weight("attn_q"), x));
    const keys = normed.map((x) => multiply(weight("attn_k"), x));
    const values = normed.map((x) => multiply(weight("attn_v"), x));
    state = state.map((x, row) => {
      const mixed = attend(
        model,
        queries[row] as Float64Array,
        keys,
        values,
        distance[row] as (number | null)[],
      );
      const middle = add(x, multiply(weight("attn_output"), mixed));
      const inner = rmsNorm(middle, weight("ffn_norm"), model.epsilon);
      const gate = multiply(weight("ffn_gate"), inner);
      const up = multiply(weight("ffn_up"), inner);
      const hidden = gate.map((g, i) => (g / (1 + Math.exp(-g))) * (up[i] as number));
      return add(middle, multiply(weight("ffn_down"), hidden));
    });
  }
  return state.map((x) => multiply(model.embedding, rmsNorm(x, model.outputNorm, model.epsilon)));
}

/** The embedding row of a token, [M]. */
export function embeddingOf({ embedding, hidden }: DenseModel, token: number): Float32Array {
  return embedding.subarray(token * hidden, (token + 1) * hidden);
}
