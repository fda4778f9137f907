// SPDX-License-Identifier: Apache-2.0
// A handle on one segment of the addon. Release is idempotent; the addon keeps the blocks for as long as an open
// reader or a running job needs them, so that releasing early is always safe.

import type { EngineClient } from "../native/engine-client.js";
import type { Append, KvSpec, SegmentInfo, SegmentKind, SegmentRead, SnapshotPart } from "../native/types.js";
import type { Retention } from "./cache-options.js";

export interface SegmentView {
  segment: Segment;
  rows: number;
  /** Reader's position minus writer's position of the same row. */
  shift: number;
}

export interface SegmentInit {
  kind: SegmentKind;
  /** Position of row 0 in the segment's own frame. */
  start: number;
  reads: readonly SegmentView[];
  /** Whose content it is; see CacheOptions.salt. */
  salt?: string;
  /** What becomes of its blocks; see CacheOptions.retain. */
  retain?: Retention;
}

/** A segment that the addon has made already. */
export interface SegmentMade {
  start: number;
  handle: Append["segment"];
}

export class Segment {
  readonly start: number;
  readonly #engine: EngineClient;
  readonly #handle: Append["segment"];
  #retain: Retention = "usual";
  #released = false;

  constructor(engine: EngineClient, init: SegmentInit | SegmentMade) {
    this.start = init.start;
    this.#engine = engine;
    if ("handle" in init) {
      this.#handle = init.handle;
      return;
    }
    const reads = init.reads.map((one) => one.segment.read(one.rows, one.shift));
    const { kind, start, salt = "", retain = "usual" } = init;
    this.#retain = retain;
    this.#handle = engine.createSegment({ kind, start, reads, salt });
  }

  /** A closed segment from what `export` gave; see NativeBinding.importSegment. */
  static async restore(engine: EngineClient, spec: KvSpec, bytes: Uint8Array): Promise<Segment> {
    return new Segment(engine, { start: spec.start, handle: await engine.importSegment(spec, bytes) });
  }

  /** KV of a closed segment. */
  export(): Promise<Uint8Array> {
    return this.#engine.exportSegment(this.#handle);
  }

  /** As a reader of its first `rows` rows names it to the addon. */
  read(rows: number, shift: number): SegmentRead {
    return { segment: this.#handle, rows, shift };
  }

  /** As a snapshot names its first `rows` rows to the addon. */
  part(rows: number): SnapshotPart {
    return { segment: this.#handle, rows };
  }

  info(): SegmentInfo {
    return this.#engine.segmentInfo(this.#handle);
  }

  appendTokens(tokens: Int32Array): Append {
    return { segment: this.#handle, tokens };
  }

  /** `rows`: embedding rows [count, hidden]. */
  appendRows(rows: Float32Array): Append {
    return { segment: this.#handle, rows };
  }

  /** No more rows; what it read is let go. */
  close(): void {
    if (!this.#released) this.#engine.closeSegment(this.#handle);
  }

  /** `retain`: instead of what it was made with. */
  release(retain = this.#retain): void {
    if (this.#released) return;
    this.close();
    this.#released = true;
    if (retain === "usual") this.#engine.releaseSegment(this.#handle);
    else if (retain === "none") this.#engine.releaseSegment(this.#handle, "none");
    else this.#engine.releaseSegment(this.#handle, "resume", retain.ms);
  }
}
