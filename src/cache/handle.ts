// SPDX-License-Identifier: Apache-2.0
// A cache handle: a text that grows, whose KV is there to be read, forked and rewound, without a chain. Its rows stand
// in one frame from position 0 on. Forking closes the segment where it stands; what both handles have in common is
// read by both and computed and stored once.
//
// The last row of what was appended is computed together with what comes next, because its logits decide what comes
// next: so every fork can generate at once, at the cost of one row.

import { ClosedError, OptionInvalidError } from "../errors.js";
import type { Model } from "../model/model.js";
import type { PrefillProgress } from "../model/progress.js";
import type { Append, TierMove } from "../native/types.js";
import type { Retention } from "./cache-options.js";
import { checkRetention } from "./cache-options.js";
import type { CacheContent } from "./content.js";
import { contextFull, rowsOfContent } from "./content.js";
import type { Generation, GenerationOptions } from "./generation.js";
import { prefillListener, startGeneration } from "./generation.js";
import type { OutputSchema } from "./output-schema.js";
import { CachePin } from "./pin.js";
import { promptCacheOf } from "./prompt-cache.js";
import { Segment } from "./segment.js";
import type { RestoreReport } from "./snapshot/of-handle.js";
import { handleContent } from "./snapshot/of-handle.js";
import type { SnapshotTarget } from "./snapshot/places.js";
import { contentOf } from "./snapshot/rows.js";
import type { SnapshotOptions, SnapshotReport } from "./snapshot/write.js";
import { streamSnapshot, writeSnapshot } from "./snapshot/write.js";
import type { Row } from "./view.js";
import {
  commonRows,
  contains,
  endOf,
  prefixOf,
  readsOf,
  rowOf,
  rowsOfView,
  ViewLink,
  WrittenSegment,
} from "./view.js";

export interface AppendOptions {
  /** Stops the computation; the handle is then as it was before. */
  signal?: AbortSignal;
  /** The names of control tokens in a text become those tokens; default false: they stay plain text. */
  specials?: boolean;
  /** Hears of rows that are computed. */
  onProgress?: (progress: PrefillProgress) => void;
}

export interface AppendUsage {
  /** Rows appended. */
  rows: number;
  /** Rows that went through a forward now: of what was appended, all but the last, and the last one of before. */
  rowsComputed: number;
  /** Rows that were found by their content instead. */
  rowsReused: number;
  /** What became of rows that the pool had given up and a tier has; absent: there were none. */
  tiers?: readonly TierMove[];
}

/** How contents compare with the rows of a handle. */
export interface CacheMatch {
  /** Rows of the contents. */
  rows: number;
  /** Of them, the first ones that are the handle's first ones too. */
  common: number;
}

/** A place to rewind to. It holds no memory; it is good for the handle that made it and for its later forks. */
export interface CacheMark {
  readonly rows: number;
}

/** Options of `open`, checked. */
export interface HandleOptions {
  salt: string;
  retain: Retention;
}

interface Place extends CacheMark {
  readonly view: ViewLink | null;
  readonly owed: Row | null;
}

export class CacheHandle {
  readonly #model: Model;
  readonly #options: HandleOptions;
  /** Closed rows; held. */
  #view: ViewLink | null;
  /** The segment that is being written behind them. */
  #open: WrittenSegment | null = null;
  /** The last row, not computed yet. */
  #owed: Row | null;
  #busy: AbortController | null = null;
  #closed = false;
  /** What became of the snapshot that it was restored from; null for other handles. */
  readonly restored: RestoreReport | null;

  /** Use `model.cache.open()`. Takes over one hold of `view`. */
  constructor(
    model: Model,
    options: HandleOptions,
    view: ViewLink | null = null,
    owed: Row | null = null,
    restored: RestoreReport | null = null,
  ) {
    this.#model = model;
    this.#options = options;
    this.#view = view;
    this.#owed = owed;
    this.restored = restored;
  }

  /** Rows that the next one will read. */
  get rows(): number {
    return this.#writtenRows + (this.#owed === null ? 0 : 1);
  }

  get closed(): boolean {
    return this.#closed;
  }

  get #writtenRows(): number {
    return endOf(this.#view) + (this.#open?.rows.length ?? 0);
  }

  /**
   * Adds rows. A text is tokenised by itself with nothing added, except that the first one starts with BOS if the
   * tokenizer asks for one. Throws OPTION_INVALID for content that gives no row, PROMPT_INVALID for rows of another
   * width, CONTEXT_LIMIT, CACHE_BUDGET, CLOSED; rejects with the signal's reason.
   */
  async append(content: CacheContent, options: AppendOptions = {}): Promise<AppendUsage> {
    return this.#exclusively(options.signal, async (signal) => {
      const added = await rowsOfContent(this.#model, content, {
        specials: options.specials ?? false,
        atStart: this.rows === 0,
      });
      signal.throwIfAborted();
      const { contextLength } = this.#model.info;
      const needed = this.rows + added.length;
      if (needed > contextLength) {
        throw contextFull(`${this.rows} rows and ${added.length} to append`, needed, contextLength);
      }
      const rows = this.#owed === null ? [...added] : [this.#owed, ...added];
      const owed = rows.pop() as Row;
      const tiers: TierMove[] = [];
      const usage = { rows: added.length, rowsComputed: 0, rowsReused: 0 };
      if (rows.length > 0) {
        const open = this.#writing();
        const appends = appendsOf(open.segment, rows);
        promptCacheOf(this.#model).makeRoomForRows(rows.length);
        const { stats } = await this.#model.engine.run(
          { appends, logits: "none" },
          { signal, onTier: (_, move) => tiers.push(move), ...prefillListener(options) },
        );
        usage.rowsComputed = stats.rowsComputed;
        usage.rowsReused = stats.rowsFound;
        for (const row of rows) open.rows.push(row);
      }
      this.#owed = owed;
      return tiers.length === 0 ? usage : { ...usage, tiers };
    });
  }

  /**
   * How many rows these contents have, as `append` would add them to an empty handle, and how many of their first ones
   * this handle begins with: what of a text that has changed is there already. Then `truncate` to that and append the
   * rest. Throws as `append`.
   */
  async match(...contents: readonly CacheContent[]): Promise<CacheMatch> {
    this.#checkFree();
    const wanted: Row[] = [];
    for (const content of contents) {
      const place = { specials: false, atStart: wanted.length === 0 };
      for (const row of await rowsOfContent(this.#model, content, place)) wanted.push(row);
    }
    this.#checkFree(); // a folder may have been read meanwhile
    return { rows: wanted.length, common: commonRows(this.#allRows(), wanted) };
  }

  /**
   * Continues the text: iterate the result for text as it comes, or await its `result`. What was generated belongs to
   * the handle afterwards. Leaving the loop stops it and leaves the handle as it was before; so does the signal.
   */
  generate<const S extends OutputSchema | undefined = undefined>(
    options: GenerationOptions<S> = {},
  ): Generation<S> {
    return startGeneration(this.#model, options, (signal, run) =>
      this.#exclusively(signal, async (stop) => {
        if (this.#owed === null) this.#takeBackLastRow();
        const first = this.#owed;
        if (first === null) {
          throw new OptionInvalidError("There is nothing to continue. Append at least one token first.", {
            facts: { rows: 0 },
          });
        }
        const open = this.#writing();
        const before = open.rows.length;
        const limit = this.#model.info.contextLength;
        const left = limit - this.rows;
        if (left < 1) throw contextFull(`${this.rows} rows and the next token`, this.rows + 1, limit);
        const outcome = await run(appendsOf(open.segment, [first]), left, stop);
        const written = open.segment.info().rows - before;
        for (const row of [first, ...outcome.tokens].slice(0, written)) open.rows.push(row);
        this.#owed = outcome.pending < 0 ? null : outcome.pending;
        return outcome;
      }),
    );
  }

  /** A second handle on the same rows. Nothing is copied; each goes on by itself and lives as long as it likes. */
  fork(): CacheHandle {
    this.#settle();
    return new CacheHandle(this.#model, this.#options, this.#view?.hold() ?? null, this.#owed);
  }

  mark(): CacheMark {
    this.#settle();
    // What generates computes the last row anew, and then it would stand behind another link than the mark's.
    if (this.#owed === null) this.#takeBackLastRow();
    const place: Place = { rows: this.rows, view: this.#view, owed: this.#owed };
    return Object.freeze(place);
  }

  /** Back to where the mark was made; later rows are let go. Throws OPTION_INVALID for a mark that is not behind it. */
  rewind(mark: CacheMark): void {
    this.#settle();
    const { view, owed, rows } = mark as Place;
    const behind =
      view !== undefined &&
      contains(this.#view, view) &&
      (owed === null || owed === this.#rowAt(endOf(view)));
    if (!behind) {
      throw new OptionInvalidError(
        `The mark at row ${rows} is not behind this handle, which has ${this.rows} rows. Rewind to a mark that this ` +
          "handle, or the one it was forked from before, has made and not rewound past.",
        { facts: { rows, handleRows: this.rows } },
      );
    }
    this.#goTo(view?.hold() ?? null, owed);
  }

  /** Keeps the first `rows` rows. Throws OPTION_INVALID for more than there are. */
  truncate(rows: number): void {
    this.#settle();
    if (!Number.isInteger(rows) || rows < 0 || rows > this.rows) {
      throw new OptionInvalidError(
        `A handle of ${this.rows} rows cannot be truncated to ${rows}. Give a whole number from 0 to ${this.rows}.`,
        { facts: { option: "rows", value: String(rows), most: this.rows } },
      );
    }
    if (rows < this.rows) this.#goTo(prefixOf(this.#view, rows), null);
  }

  /**
   * Saves the rows as they are now, with checksums, to a file, which is whole or not there, or to a stream, which is
   * ended; `model.cache.restore` brings them back. The handle may go on at once. `about`: JSON to keep beside them.
   * Rejects with IO, OPTION_INVALID, CLOSED, the signal's reason.
   */
  async snapshot(
    to: SnapshotTarget,
    { about, ...options }: SnapshotOptions & { about?: unknown } = {},
  ): Promise<SnapshotReport> {
    this.#settle();
    return writeSnapshot(handleContent(this.#model, this.#view, this.#owed, about), to, options);
  }

  /** The same bytes to be read, of the rows as they are now. */
  snapshotStream({ signal }: { signal?: AbortSignal } = {}): ReadableStream<Uint8Array> {
    this.#settle();
    return streamSnapshot(handleContent(this.#model, this.#view, this.#owed), signal);
  }

  /**
   * A hold on the rows as they are now, so that they stay in the pool, whatever becomes of the handle, until the pin is
   * released or `ms` milliseconds are over. Throws OPTION_INVALID, CLOSED.
   */
  pin({ ms }: { ms?: number } = {}): CachePin {
    return new CachePin(this.fork(), ms);
  }

  /**
   * Lets go of everything; what runs is stopped. Forks are not touched. `retain`: what becomes of the rows, instead of
   * what the handle was opened with. Idempotent. Throws OPTION_INVALID.
   */
  close(options: { retain?: Retention } = {}): void {
    const retain = options.retain === undefined ? this.#options.retain : checkRetention(options.retain);
    if (this.#closed) return;
    this.#closed = true;
    this.#busy?.abort(closedError());
    this.#open?.drop(retain);
    this.#view?.drop(retain);
    this.#open = null;
    this.#view = null;
    this.#owed = null;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  *#allRows(): Generator<Row> {
    yield* rowsOfView(this.#view);
    if (this.#open !== null) yield* this.#open.rows;
    if (this.#owed !== null) yield this.#owed;
  }

  /** Row `index` of what is closed or owed. */
  #rowAt(index: number): Row | null | undefined {
    return index === endOf(this.#view) ? this.#owed : rowOf(this.#view, index);
  }

  #goTo(view: ViewLink | null, owed: Row | null): void {
    const before = this.#view;
    this.#view = view;
    this.#owed = owed;
    before?.drop();
  }

  #takeBackLastRow(): void {
    this.#closeOpen();
    const last = rowOf(this.#view, this.rows - 1);
    if (last !== undefined) this.#goTo(prefixOf(this.#view, this.rows - 1), last);
  }

  /** The segment to write to, behind everything that the handle reads. */
  #writing(): WrittenSegment {
    this.#open ??= new WrittenSegment(
      new Segment(this.#model.engine, {
        kind: "input",
        start: endOf(this.#view),
        reads: readsOf(this.#view),
        salt: this.#options.salt,
      }),
    ).hold();
    return this.#open;
  }

  /** Closes the segment where it stands. Throws while rows are being computed. */
  #settle(): void {
    this.#checkFree();
    this.#closeOpen();
  }

  #closeOpen(): void {
    const open = this.#open;
    if (open === null) return;
    this.#open = null;
    open.segment.close();
    if (open.rows.length > 0) {
      const view = new ViewLink(this.#view, open, open.rows.length);
      this.#view?.drop();
      this.#view = view;
    }
    open.drop();
  }

  #checkFree(): void {
    if (this.#closed) throw closedError();
    if (this.#model.closed) this.#model.stats(); // throws with the model's name
    if (this.#busy === null) return;
    throw new OptionInvalidError(
      "The handle is being written. Await its append or generate first, or fork it before and use both.",
      { facts: { rows: this.rows } },
    );
  }

  async #exclusively<T>(
    signal: AbortSignal | undefined,
    work: (stop: AbortSignal) => Promise<T>,
  ): Promise<T> {
    this.#checkFree();
    signal?.throwIfAborted();
    const busy = new AbortController();
    const onAbort = () => busy.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#busy = busy;
    try {
      return await work(busy.signal);
    } finally {
      this.#busy = null;
      signal?.removeEventListener("abort", onAbort);
    }
  }
}

function closedError(): ClosedError {
  return new ClosedError("The cache handle is closed. Open another one, or close it after its last use.");
}

function appendsOf(segment: Segment, rows: readonly Row[]): Append[] {
  return contentOf(rows).map((run) =>
    "tokens" in run ? segment.appendTokens(run.tokens) : segment.appendRows(run.rows),
  );
}
