// SPDX-License-Identifier: Apache-2.0
// What tests of snapshots share: a handle with rows of every kind, and what follows it, bit for bit.

import { afterEach } from "vitest";
import type { CacheHandle, LoadOptions, Model } from "../../src/index.js";
import { BatonError } from "../../src/index.js";
import { loadTiny } from "../chain/tiny-model.js";

const open: Model[] = [];
export async function load(options: LoadOptions = {}): Promise<Model> {
  const model = await loadTiny(options);
  open.push(model);
  return model;
}
afterEach(async () => {
  for (const model of open.splice(0)) await model.close();
});

export const free = { closers: ["<|endoftext|>"], maxTokens: 12 };
export const ids = (count: number, seed: number) =>
  Array.from({ length: count }, (_, i) => (i * 37 + seed * 101) % 500);
const soft = (model: Model, count: number) => {
  const { hidden } = model.info;
  return { rows: Float32Array.from({ length: count * hidden }, (_, i) => Math.sin(i) / 8), count };
};
export const failure = async (promise: Promise<unknown>): Promise<BatonError> => {
  const error = await promise.then(
    () => new Error("nothing failed"),
    (caught: unknown) => caught,
  );
  if (BatonError.isInstance(error)) return error;
  throw error;
};

/** Log-probabilities of what follows tell every bit of the logits that decide. */
export async function following(handle: CacheHandle) {
  using fork = handle.fork();
  const { tokens, logprobs } = await fork.generate({ ...free, logprobs: 3 }).result;
  return { tokens, logprobs };
}

/** Several segments: read whole, up to a row, with embedding rows, and with a row that is owed. */
export async function written(model: Model): Promise<CacheHandle> {
  const handle = model.cache.open();
  await handle.append(ids(90, 3));
  handle.truncate(75);
  await handle.append(soft(model, 20));
  handle.mark();
  await handle.generate({ ...free, maxTokens: 9 }).result;
  return handle;
}

/** Rows of that handle before a block of its snapshot. */
export function rowsBefore(block: number, blockRows: number): number {
  let [rows, left] = [0, block];
  for (const segment of [75, 19, 9]) {
    rows += Math.min(segment, left * blockRows);
    left -= Math.min(Math.ceil(segment / blockRows), left);
  }
  return rows;
}

export const bytesOf = async (stream: ReadableStream<Uint8Array>) =>
  new Uint8Array(await new Response(stream).arrayBuffer());

/** The snapshot under a changed header with right checksums: what somebody might write by hand. */
export async function reheaded(
  model: Model,
  bytes: Uint8Array,
  change: (header: never) => void,
): Promise<Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [length, notes, blocks] = [8, 16, 24].map((at) => Number(view.getBigUint64(at, true))) as [
    number,
    number,
    number,
  ];
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(64, 64 + length)));
  change(header as never);
  const text = new TextEncoder().encode(JSON.stringify(header));
  const rest = bytes.subarray(64 + length, 64 + length + notes + 4 * blocks);
  const size = Math.ceil((64 + text.length + rest.length) / 4096) * 4096;
  const head = new Uint8Array(size);
  head.set(bytes.subarray(0, 60));
  new DataView(head.buffer).setBigUint64(8, BigInt(text.length), true);
  head.set(text, 64);
  head.set(rest, 64 + text.length);
  new DataView(head.buffer).setUint32(60, crc32c(head), true);
  return Buffer.concat([head, bytes.subarray(bytes.length - blocks * model.info.blockBytes)]);
}

function crc32c(bytes: Uint8Array): number {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0x82f63b78 : 0);
  }
  return ~sum >>> 0;
}
