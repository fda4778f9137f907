// SPDX-License-Identifier: Apache-2.0
// One line of execution: steps after each other, one job at a time. Rows are appended lazily: an input when the first
// stage that reads it runs, in that stage's job; the last token of an output in the next job, or at once when the
// program's own code comes first. Branches of a fan-out have a lane each, so that what one owes never waits for
// another; the chain's own steps share one.

import type { JobListeners, JobOutcome } from "../native/engine-client.js";
import type { Append, GenerateSpec, MissReason, TierMove } from "../native/types.js";
import type { SegmentId } from "./plan.js";
import type { RunState } from "./run-state.js";

/** An append that waits for the next job; its segment takes no more rows after it. */
export interface Queued {
  id: SegmentId;
  append: Append;
}

/** What the content index had of a new segment, what it had not, and why. */
export interface Found {
  segment: SegmentId;
  found: number;
  missed: number;
  reason: MissReason;
}

export interface LaneListeners extends Omit<JobListeners, "onFound" | "onTier"> {
  onFound?: (found: Found) => void;
  onTier?: (segment: SegmentId, move: TierMove) => void;
}

/** What was computed before the stage that it is for: part of that stage's cost. */
export interface Ahead {
  rowsComputed: number;
  rowsFound: number;
  /** Segments that were begun. */
  begun: Found[];
  /** What tiers had of them. */
  moves: [SegmentId, TierMove][];
}

const restored = (segment: SegmentId, found: number): Found => ({
  segment,
  found,
  missed: 0,
  reason: "none",
});

const nothingAhead = (): Ahead => ({ rowsComputed: 0, rowsFound: 0, begun: [], moves: [] });

export class Lane {
  readonly #run: RunState;
  readonly #signal: AbortSignal;
  readonly #running = new Set<Promise<unknown>>();
  #queued: Queued[] = [];
  #ahead = nothingAhead();

  constructor(run: RunState, signal: AbortSignal) {
    this.#run = run;
    this.#signal = signal;
  }

  /** Aborted when the run is, or when what this lane works for has failed elsewhere. */
  get signal(): AbortSignal {
    return this.#signal;
  }

  /**
   * Queues the rows of an input, and of the inputs that it reads, unless they are there. In a run that resumes another,
   * also rows that the snapshot lacks: of an output that had ended, and of what it reads.
   */
  async ensure(id: SegmentId): Promise<void> {
    const run = this.#run;
    if (run.isWritten(id)) return;
    const { kind, site, reads } = run.segment(id);
    if (kind === "prompt") await run.holdPrompt(site);
    if (kind === "prompt" || (kind === "output" && !run.record.isEnded(id))) return;
    const tokens = run.rowTokens(id);
    run.setLength(id, tokens.length);
    const there = run.restoredRows(id);
    if (there > 0) this.#note({ ...nothingAhead(), rowsFound: there, begun: [restored(id, there)] });
    if (there === tokens.length) return run.adopt(id);
    for (const one of reads) if (!run.isWritten(one)) await this.ensure(one);
    if (run.isWritten(id)) return; // by another branch meanwhile
    run.contextLeft(id, tokens.length, 0);
    this.enqueue(id, run.open(id).appendTokens(tokens.subarray(there)));
  }

  enqueue(id: SegmentId, append: Append): void {
    this.#queued.push({ id, append });
    this.#run.owe(id);
  }

  /** Rows of `id` whose KV is there: without those that wait for the next job. */
  computedRows(id: SegmentId): number {
    const owed = this.#queued.filter((one) => one.id === id);
    return owed.reduce((rows, one) => rows - (one.append.tokens?.length ?? 0), this.#run.lengthOf(id));
  }

  /** Takes over what another lane owes, and what it did ahead. */
  adopt(other: Lane): void {
    this.#queued.push(...other.#queued);
    other.#queued = [];
    this.#note(other.takeAhead());
  }

  /** What was done ahead of the next stage since this was asked last. */
  takeAhead(): Ahead {
    const ahead = this.#ahead;
    this.#ahead = nothingAhead();
    return ahead;
  }

  #note({ rowsComputed, rowsFound, begun, moves }: Ahead): void {
    this.#ahead.rowsComputed += rowsComputed;
    this.#ahead.rowsFound += rowsFound;
    this.#ahead.begun.push(...begun);
    this.#ahead.moves.push(...moves);
  }

  /** Forgets owed rows of segments that nobody is going to read. */
  dropUnread(read: ReadonlySet<SegmentId>): void {
    for (const { id } of this.#queued) if (!read.has(id)) this.#run.settle(id);
    this.#queued = this.#queued.filter(({ id }) => read.has(id));
  }

  /**
   * Runs what is queued, then `last` with generation, as one job; queued segments are closed when it ends, the last
   * one is not. `rows`: most rows that `last` and its generation write.
   */
  async job(
    last: Queued | null,
    generate: GenerateSpec | null,
    rows: number,
    { onFound, onTier, ...listeners }: LaneListeners,
  ): Promise<JobOutcome> {
    const { model } = this.#run;
    const queued = this.#queued;
    const bytes = this.#bytesFor(rows);
    this.#queued = [];
    const appends = queued.map(({ append }): Append => ({ ...append, close: true }));
    if (last !== null) appends.push(last.append);
    const job = { appends, logits: "none" as const, ...(generate === null ? {} : { generate }) };
    const admitted = this.#run.room.enter(bytes);
    if (admitted !== null) await this.race(admitted);
    const running = model.engine.run(job, {
      ...listeners,
      signal: this.#signal,
      onFound: (append, found, missed, reason) => {
        const segment = (queued[append] ?? last)?.id;
        if (segment !== undefined) onFound?.({ segment, found, missed, reason });
      },
      onTier: (append, move) => {
        const segment = (queued[append] ?? last)?.id;
        if (segment !== undefined) onTier?.(segment, move);
      },
    });
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
      this.#run.room.leave(bytes);
      for (const { id } of queued) this.#run.settle(id);
      if (queued.length > 0) this.#run.releaseUnread(); // what only those rows read
    }
  }

  /** Computes what is queued now; nothing queued: nothing happens. */
  async flush(): Promise<void> {
    if (this.#queued.length === 0) return;
    const begun: Found[] = [];
    const moves: [SegmentId, TierMove][] = [];
    const { stats } = await this.job(null, null, 0, {
      onFound: (found) => begun.push(found),
      onTier: (...move) => moves.push(move),
    });
    this.#note({ rowsComputed: stats.rowsComputed, rowsFound: stats.rowsFound, begun, moves });
  }

  /** Bytes of KV that the next job takes at most, with `rows` rows of its last segment. */
  #bytesFor(rows: number): number {
    const { blockRows, blockBytes } = this.#run.model.info;
    const all = [rows, ...this.#queued.map((one) => one.append.tokens?.length ?? 0)];
    return all.reduce((sum, one) => sum + Math.ceil(one / blockRows), 0) * blockBytes;
  }

  /** The promise's value, or the signal's reason as soon as it is aborted. */
  async race<T>(work: Promise<T>): Promise<T> {
    const signal = this.#signal;
    let onAbort = () => {};
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(signal.reason);
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort, { once: true });
    });
    work.catch(() => {}); // the loser of the race may still fail
    try {
      return await Promise.race([work, aborted]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Settles when no job of this lane runs any more; what was queued is forgotten. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#running);
    this.#queued = [];
  }
}
