// SPDX-License-Identifier: Apache-2.0
// A handle on one segment of the addon. Release is idempotent; the addon keeps the blocks for as long as an open
// reader or a running job needs them, so that releasing early is always safe.

import type { EngineClient } from "../native/engine-client.js";
import type { Append, SegmentInfo, SegmentKind, SegmentRead } from "../native/types.js";

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
}

export class Segment {
  readonly start: number;
  readonly #engine: EngineClient;
  readonly #handle: Append["segment"];
  #released = false;

  constructor(engine: EngineClient, { kind, start, reads }: SegmentInit) {
    this.start = start;
    this.#engine = engine;
    this.#handle = engine.createSegment({
      kind,
      start,
      reads: reads.map((one) => one.segment.read(one.rows, one.shift)),
    });
  }

  /** As a reader of its first `rows` rows names it to the addon. */
  read(rows: number, shift: number): SegmentRead {
    return { segment: this.#handle, rows, shift };
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

  release(): void {
    if (this.#released) return;
    this.close();
    this.#released = true;
    this.#engine.releaseSegment(this.#handle);
  }
}
