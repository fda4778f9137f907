// SPDX-License-Identifier: Apache-2.0
// Where a snapshot goes to and where it comes from: a file, which is whole or not there, or a stream of bytes.

import type { Writable } from "node:stream";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { OptionInvalidError } from "../../errors.js";

/** Path of a file, or a stream, which is ended. */
export type SnapshotTarget = string | Writable | WritableStream<Uint8Array>;

/** Path of a file, or bytes in any pieces. */
export type SnapshotSource = string | Uint8Array | AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>;

export function labelOf(place: unknown): string {
  return typeof place === "string" ? place : "The snapshot";
}

function wrongPlace(option: string, place: unknown, expected: string): OptionInvalidError {
  return new OptionInvalidError(`The snapshot's place is ${String(place)}. Give ${expected}.`, {
    facts: { option, value: String(place).slice(0, 80) },
  });
}

/** Throws OPTION_INVALID. */
export function checkTarget(to: unknown): asserts to is SnapshotTarget {
  if (typeof to === "string" && to !== "" && !to.includes("\0")) return;
  const isStream = typeof to === "object" && to !== null && ("getWriter" in to || "write" in to);
  if (!isStream) throw wrongPlace("to", to, "the path of a file, or a stream to write to");
}

/** Throws OPTION_INVALID. */
export function checkSource(from: unknown): asserts from is SnapshotSource {
  if (typeof from === "string" && from !== "" && !from.includes("\0")) return;
  const isStream = typeof from === "object" && from !== null && Symbol.asyncIterator in from;
  if (!isStream && !(from instanceof Uint8Array)) {
    throw wrongPlace("from", from, "the path of a file, a Uint8Array, or a stream of them");
  }
}

export async function pour(
  chunks: AsyncIterable<Uint8Array>,
  to: Exclude<SnapshotTarget, string>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const stop = signal === undefined ? {} : { signal };
  try {
    if ("getWriter" in to) await ReadableStream.from(chunks).pipeTo(to, stop);
    else await pipeline(Readable.from(chunks, { objectMode: false }), to, stop);
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  }
}

/** Throws the signal's reason as soon as it is aborted, whether a piece comes or not. */
export async function* chunksOf(
  from: Exclude<SnapshotSource, string>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  if (from instanceof Uint8Array) {
    yield from;
    return;
  }
  const chunks = from[Symbol.asyncIterator]();
  let done = false;
  try {
    while (true) {
      const next = await untilAborted(chunks.next(), signal);
      done = next.done === true;
      if (done) return;
      if (!(next.value instanceof Uint8Array))
        throw wrongPlace("from", next.value, "a stream of Uint8Arrays");
      yield next.value;
    }
  } finally {
    if (!done) Promise.resolve(chunks.return?.()).catch(() => {}); // it may wait for a piece that never comes
  }
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
