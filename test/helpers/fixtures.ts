// SPDX-License-Identifier: Apache-2.0
// Reads the reference fixtures (arrays.safetensors and facts.json of test/fixtures/*) and measures against them.
//
// Law: the reader is strict. A tensor that is absent, has another type, lies out of range, overlaps a neighbour or
// leaves bytes over is an error, and so is a comparison of different shapes or of numbers that are not finite: a
// fixture that was not understood must never pass for one that agrees.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../fixtures/", import.meta.url);

/** Row-major rows: `data[r * columns + c]`. */
export interface Matrix {
  rows: number;
  columns: number;
  data: Float32Array;
}

interface TensorEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** The tensors of one safetensors file, by name. Every accessor throws if type or rank is not the one asked for. */
export interface Arrays {
  names: string[];
  /** Any rank, float32. */
  floats(name: string): Float32Array;
  /** Any rank, int32. */
  ints(name: string): Int32Array;
  /** Rank 2, float32. */
  matrix(name: string): Matrix;
  shape(name: string): number[];
}

/** Absolute path of a file or folder below test/fixtures. */
export function fixturePath(relative: string): string {
  return fileURLToPath(new URL(relative, root));
}

/** Parses `test/fixtures/<name>/facts.json`; the caller states its shape (test/fixtures/README.md). */
export function loadFacts<T>(name: string): T {
  return JSON.parse(readFileSync(fixturePath(`${name}/facts.json`), "utf8")) as T;
}

/** Opens `test/fixtures/<name>/arrays.safetensors`. */
export function loadArrays(name: string): Arrays {
  return readSafetensors(readFileSync(fixturePath(`${name}/arrays.safetensors`)), name);
}

/** Reads a safetensors file of F32 and I32 tensors: u64 header length, JSON header, little-endian data. */
export function readSafetensors(file: Uint8Array, what: string): Arrays {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.byteLength < 8) throw new Error(`${what}: ${file.byteLength} bytes are no safetensors file`);
  const headerBytes = Number(view.getBigUint64(0, true));
  if (headerBytes > file.byteLength - 8)
    throw new Error(`${what}: header of ${headerBytes} bytes exceeds the file`);
  const data = file.subarray(8 + headerBytes);
  const header: unknown = JSON.parse(
    new TextDecoder("utf-8", { fatal: true }).decode(file.subarray(8, 8 + headerBytes)),
  );
  const tensors = checkHeader(header, data.byteLength, what);
  const bytesOf = (name: string, dtype: string): [ArrayBuffer, number[]] => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`${what}: no tensor ${name}; it has ${[...tensors.keys()].join(", ")}`);
    if (tensor.dtype !== dtype) throw new Error(`${what}: tensor ${name} is ${tensor.dtype}, not ${dtype}`);
    // A fresh Uint8Array: a Buffer's own slice would be a view of the whole file.
    return [new Uint8Array(data.subarray(...tensor.data_offsets)).buffer, tensor.shape];
  };
  return {
    names: [...tensors.keys()],
    floats: (name) => new Float32Array(bytesOf(name, "F32")[0]),
    ints: (name) => new Int32Array(bytesOf(name, "I32")[0]),
    shape: (name) => {
      const tensor = tensors.get(name);
      if (!tensor) throw new Error(`${what}: no tensor ${name}`);
      return tensor.shape;
    },
    matrix: (name) => {
      const [bytes, shape] = bytesOf(name, "F32");
      const [rows, columns] = shape;
      if (shape.length !== 2 || rows === undefined || columns === undefined) {
        throw new Error(`${what}: tensor ${name} has shape [${shape}], not two dimensions`);
      }
      return { rows, columns, data: new Float32Array(bytes) };
    },
  };
}

function checkHeader(header: unknown, dataBytes: number, what: string): Map<string, TensorEntry> {
  if (typeof header !== "object" || header === null) throw new Error(`${what}: the header is no object`);
  const tensors = new Map<string, TensorEntry>();
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const { dtype, shape, data_offsets: offsets } = value as TensorEntry;
    if (dtype !== "F32" && dtype !== "I32") throw new Error(`${what}: tensor ${name} has type ${dtype}`);
    const bytes = shape.reduce((product, size) => product * size, 4);
    if (offsets[1] - offsets[0] !== bytes) {
      throw new Error(
        `${what}: tensor ${name} [${shape}] spans ${offsets[1] - offsets[0]} bytes, not ${bytes}`,
      );
    }
    tensors.set(name, { dtype, shape, data_offsets: offsets });
  }
  let end = 0;
  for (const tensor of [...tensors.values()].sort((a, b) => a.data_offsets[0] - b.data_offsets[0])) {
    if (tensor.data_offsets[0] !== end) throw new Error(`${what}: tensors overlap or leave a hole at ${end}`);
    end = tensor.data_offsets[1];
  }
  if (end !== dataBytes) throw new Error(`${what}: tensors end at ${end}, data at ${dataBytes}`);
  return tensors;
}

/** Keeps the given columns of full rows: `full` is [rows, width], `columns` ids below width. */
export function takeColumns(full: Float32Array, width: number, columns: Int32Array): Matrix {
  const rows = full.length / width;
  if (!Number.isInteger(rows)) throw new Error(`${full.length} numbers are no whole rows of ${width}`);
  const data = new Float32Array(rows * columns.length);
  columns.forEach((column, c) => {
    if (column < 0 || column >= width) throw new Error(`column ${column} of ${width}`);
    for (let r = 0; r < rows; r++) data[r * columns.length + c] = full[r * width + column] as number;
  });
  return { rows, columns: columns.length, data };
}

/** Largest relative L2 distance of any row, |ours - reference| / |reference|, summed in float64. */
export function relativeL2(ours: Matrix, reference: Matrix): number {
  return Math.max(...relativeL2Rows(ours, reference));
}

/** Relative L2 distance of every row. */
export function relativeL2Rows(ours: Matrix, reference: Matrix): number[] {
  const { rows, columns } = reference;
  if (ours.rows !== rows || ours.columns !== columns || rows === 0 || columns === 0) {
    throw new Error(`[${ours.rows}, ${ours.columns}] compared with [${rows}, ${columns}]`);
  }
  return Array.from({ length: rows }, (_, r) => {
    let distance = 0;
    let length = 0;
    for (let i = r * columns; i < (r + 1) * columns; i++) {
      const want = reference.data[i] as number;
      const difference = (ours.data[i] as number) - want;
      distance += difference * difference;
      length += want * want;
    }
    const relative = Math.sqrt(distance / length);
    if (!Number.isFinite(relative))
      throw new Error(`row ${r}: not a finite distance (NaN in it, or a zero row)`);
    return relative;
  });
}

/** Log-probabilities of one row of logits over the whole vocabulary, in float64. */
export function logSoftmax(logits: Float32Array): Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (const value of logits) {
    if (Number.isNaN(value)) throw new Error("a logit is NaN");
    if (value > largest) largest = value;
  }
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - largest);
  const total = largest + Math.log(sum);
  return Float64Array.from(logits, (value) => value - total);
}

/**
 * KL(reference || ours) of one row in nats, with every token outside `ids` lumped into one bucket on both sides.
 * `ids`, `logprobs` [K] and `tail` (log-probability of the bucket) are the reference's; `logits` [V] are ours, whole.
 */
export function klDivergence(
  ids: Int32Array,
  logprobs: Float32Array,
  tail: number,
  logits: Float32Array,
): number {
  if (ids.length !== logprobs.length || ids.length >= logits.length) {
    throw new Error(`${ids.length} ids, ${logprobs.length} log-probabilities, ${logits.length} logits`);
  }
  const ours = logSoftmax(logits);
  const listed = new Uint8Array(ours.length);
  let divergence = 0;
  ids.forEach((id, k) => {
    const mine = ours[id];
    if (mine === undefined || listed[id] === 1) throw new Error(`id ${id} is out of range or given twice`);
    listed[id] = 1;
    const want = logprobs[k] as number;
    divergence += Math.exp(want) * (want - mine);
  });
  let rest = 0;
  ours.forEach((value, id) => {
    if (listed[id] === 0) rest += Math.exp(value);
  });
  divergence += Math.exp(tail) * (tail - Math.log(rest));
  if (!Number.isFinite(divergence)) throw new Error(`KL divergence is ${divergence}`);
  return divergence;
}
