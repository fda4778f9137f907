// SPDX-License-Identifier: Apache-2.0
// Safetensors: u64 little-endian header length, a JSON header, raw little-endian tensor data. Read strictly: every
// tensor lies inside the file, its size follows from type and shape, none overlaps another, no byte is unaccounted
// for. Only float types, which is what soft prompts are made of.

import { type BatonError, PromptInvalidError } from "../errors.js";

export type FloatType = "F32" | "F16" | "BF16";

export interface FloatTensor {
  dtype: FloatType;
  shape: readonly number[];
  /** Row-major. */
  data: Float32Array;
}

export interface Safetensors {
  tensors: ReadonlyMap<string, FloatTensor>;
  metadata: Readonly<Record<string, string>>;
}

const lengthBytes = 8;
/** The format's own limit of a header. */
const maxHeaderBytes = 100_000_000;
const bytesPerValue: Readonly<Record<FloatType, number>> = { F32: 4, F16: 2, BF16: 2 };
const remedy = "Save the file again (PEFT: save_pretrained, safetensors).";

interface Entry {
  name: string;
  dtype: FloatType;
  shape: number[];
  /** In the data part. */
  begin: number;
  end: number;
}

type Fail = (what: string) => BatonError;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function readHeader(bytes: Uint8Array, fail: Fail): { header: Record<string, unknown>; dataStart: number } {
  if (bytes.length < lengthBytes) throw fail(`${bytes.length} bytes, less than a header's length takes`);
  const length = new DataView(bytes.buffer, bytes.byteOffset, lengthBytes).getBigUint64(0, true);
  if (length > BigInt(Math.min(maxHeaderBytes, bytes.length - lengthBytes))) {
    throw fail(`a header of ${length} bytes in a file of ${bytes.length}`);
  }
  const dataStart = lengthBytes + Number(length);
  let header: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(lengthBytes, dataStart));
    header = JSON.parse(text);
  } catch {
    throw fail("a header that is not JSON");
  }
  if (!isObject(header)) throw fail("a header that is not a JSON object");
  return { header, dataStart };
}

function readEntry(name: string, value: unknown, dataBytes: number, fail: Fail): Entry {
  const tensor = `tensor ${JSON.stringify(name)}`;
  if (!isObject(value)) throw fail(`${tensor} without a description`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(bytesPerValue, dtype)) {
    throw fail(`${tensor} of type ${JSON.stringify(dtype)}; supported: F32, F16, BF16`);
  }
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isCount)) {
    throw fail(`${tensor} of shape ${JSON.stringify(shape)}`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fail(`${tensor} with offsets ${JSON.stringify(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) {
    throw fail(`${tensor} at bytes ${begin} to ${end} of ${dataBytes}`);
  }
  const values = shape.reduce((product, size) => product * size, 1);
  const needed = values * bytesPerValue[dtype as FloatType];
  if (needed !== end - begin) {
    throw fail(
      `${tensor} of shape [${shape.join(", ")}] and type ${dtype} in ${end - begin} bytes, not ${needed}`,
    );
  }
  return { name, dtype: dtype as FloatType, shape, begin, end };
}

function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function readValues(view: DataView, dtype: FloatType, values: number): Float32Array {
  const data = new Float32Array(values);
  if (dtype === "F32") {
    for (let i = 0; i < values; i++) data[i] = view.getFloat32(4 * i, true);
  } else if (dtype === "F16") {
    for (let i = 0; i < values; i++) data[i] = halfToFloat(view.getUint16(2 * i, true));
  } else {
    // BF16 is the upper half of a float32.
    const bits = new Uint32Array(data.buffer);
    for (let i = 0; i < values; i++) bits[i] = view.getUint16(2 * i, true) << 16;
  }
  return data;
}

/** Throws PromptInvalidError that names `label`, the value that is wrong and the remedy. */
export function parseSafetensors(bytes: Uint8Array, label: string): Safetensors {
  const fail: Fail = (what) =>
    new PromptInvalidError(`${label} is not a valid safetensors file: it has ${what}. ${remedy}`, {
      facts: { file: label, found: what },
    });
  const { header, dataStart } = readHeader(bytes, fail);
  const dataBytes = bytes.length - dataStart;
  const { __metadata__: metadata = {}, ...rest } = header;
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === "string")) {
    throw fail("metadata that are not strings");
  }
  const entries = Object.entries(rest).map(([name, value]) => readEntry(name, value, dataBytes, fail));
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let end = 0;
  for (const entry of entries) {
    if (entry.begin < end) throw fail(`tensor ${JSON.stringify(entry.name)} overlapping the one before it`);
    if (entry.begin > end)
      throw fail(`${entry.begin - end} unused bytes before ${JSON.stringify(entry.name)}`);
    end = entry.end;
  }
  if (end !== dataBytes) throw fail(`${dataBytes - end} bytes after the last tensor`);
  const tensors = new Map<string, FloatTensor>();
  for (const { name, dtype, shape, begin, end } of entries) {
    const view = new DataView(bytes.buffer, bytes.byteOffset + dataStart + begin, end - begin);
    tensors.set(name, { dtype, shape, data: readValues(view, dtype, (end - begin) / bytesPerValue[dtype]) });
  }
  return { tensors, metadata: metadata as Record<string, string> };
}

/** A file of float32 tensors, as PEFT reads it; the header is padded so that the data begin at a multiple of 8. */
export function formatSafetensors(
  tensors: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>,
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  for (const [name, { shape, data }] of tensors) {
    const begin = end;
    end += 4 * data.length;
    header[name] = { dtype: "F32", shape, data_offsets: [begin, end] };
  }
  let json = new TextEncoder().encode(JSON.stringify(header));
  const padding = -json.length & 7;
  json = new TextEncoder().encode(JSON.stringify(header) + " ".repeat(padding));
  const bytes = new Uint8Array(lengthBytes + json.length + end);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, lengthBytes);
  let at = lengthBytes + json.length;
  for (const { data } of tensors.values()) {
    for (const value of data) {
      view.setFloat32(at, value, true);
      at += 4;
    }
  }
  return bytes;
}
