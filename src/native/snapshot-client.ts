// SPDX-License-Identifier: Apache-2.0
// Snapshots of one open model: the addon's functions with its model, and signals as signals.

import { BatonError } from "../errors.js";
import type {
  NativeSnapshots,
  OpenedSnapshot,
  RestoredBlocks,
  RestoredSegment,
  SnapshotContent,
  SnapshotFile,
  SnapshotHandle,
  SnapshotStream,
} from "./snapshot-types.js";
import type { ModelHandle, SegmentHandle } from "./types.js";

export class SnapshotClient {
  readonly #native: NativeSnapshots;
  /** Throws ClosedError. */
  readonly #model: () => ModelHandle;

  constructor(native: NativeSnapshots, model: () => ModelHandle) {
    this.#native = native;
    this.#model = model;
  }

  save(file: SnapshotFile, signal?: AbortSignal): Promise<number> {
    const model = this.#model();
    return stoppable(signal, (cancel) => this.#native.saveSnapshot(model, file, cancel));
  }

  stream(content: SnapshotContent, signal?: AbortSignal): Promise<SnapshotStream> {
    const model = this.#model();
    return stoppable(signal, (cancel) => this.#native.streamSnapshot(model, content, cancel));
  }

  blocks(snapshot: SnapshotHandle, first: number, count: number): Promise<Uint8Array> {
    return this.#native.readSnapshotBlocks(snapshot, first, count);
  }

  open(path: string): Promise<OpenedSnapshot> {
    return this.#native.openSnapshot(path);
  }

  headBytes(preamble: Uint8Array): number {
    return this.#native.snapshotHeadBytes(preamble);
  }

  parse(head: Uint8Array): OpenedSnapshot {
    return this.#native.parseSnapshot(head);
  }

  begin(snapshot: SnapshotHandle): void {
    this.#native.beginRestore(this.#model(), snapshot);
  }

  fill(snapshot: SnapshotHandle, signal?: AbortSignal): Promise<RestoredBlocks> {
    const model = this.#model();
    return stoppable(signal, (cancel) => this.#native.fillRestore(model, snapshot, cancel));
  }

  feed(snapshot: SnapshotHandle, bytes: Uint8Array, last: boolean): Promise<RestoredBlocks> {
    return this.#native.feedRestore(snapshot, bytes, last);
  }

  take(snapshot: SnapshotHandle, segment: RestoredSegment): SegmentHandle {
    return this.#native.takeSegment(this.#model(), snapshot, segment);
  }

  release(snapshot: SnapshotHandle): void {
    this.#native.releaseSnapshot(snapshot);
  }
}

/** Rejects with the signal's reason when it stopped the work. */
async function stoppable<T>(
  signal: AbortSignal | undefined,
  work: (cancel: Int32Array) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const cancel = new Int32Array(new ArrayBuffer(4));
  const onAbort = () => Atomics.store(cancel, 0, 1);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await work(cancel);
  } catch (error) {
    if (signal?.aborted && BatonError.isInstance(error) && error.code === "ABORTED") throw signal.reason;
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}
