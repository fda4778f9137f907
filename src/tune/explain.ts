// SPDX-License-Identifier: Apache-2.0
// What a training will cost, before it begins: rows of each kind, bytes of frozen KV, and floating point operations of
// an epoch beside those of computing everything again in every step.

import type { ModelInfo } from "../native/types.js";
import type { AssembledItem, AssembledSegment } from "./assemble.js";
import { frozenBytesOf } from "./frozen.js";
import type { Parameter, RowCounts } from "./task.js";

/** Floating point operations, a multiplication and an addition counted as two. */
export interface TuningFlop {
  /**
   * Of one epoch whose frozen rows are at hand. With W the weights of the layers' matrices, L layers, A = heads x head
   * dimension, M the width and V the vocabulary, and k keys that a row reads, of which k' are live:
   * forward of a row 2 W + 4 L A k; backward of a row 2 W (no weight gets a gradient) + 4 L A k (dP and dQ) + 4 L A k'
   * (dK and dV); a scored row 2 M V forward and 2 M V backward. Prompt rows once per step, so here `items / batchSize`
   * times, rounded up. What is computed twice to save memory is not in it.
   */
  epoch: number;
  /** Of the frozen rows, forward, once per item; again for every item that does not stay in memory. */
  frozen: number;
  /**
   * Of one epoch in which every row that a label depends on goes through forward and backward with its item, prompts
   * and frozen rows included: what a framework does that knows one sequence only. Every key is live then.
   */
  recompute: number;
}

export interface ExplainedTuningSegment {
  /** Without the numbers of rounds and branches. */
  segment: string;
  kind: "live" | "frozen";
  /** Of all items. */
  rows: number;
  /** Rows that are scored. */
  labels: number;
}

export interface TuningExplanation {
  items: number;
  batchSize: number;
  parameters: readonly Parameter[];
  /** Sums over the items; prompts not counted. */
  rows: RowCounts;
  segments: readonly ExplainedTuningSegment[];
  /** Of the frozen KV that live rows read, all items, in whole blocks; what items have in common counts for each. */
  frozenBytes: number;
  /** Of all frozen KV of the largest item, while it is computed. */
  largestBytes: number;
  /** Most bytes of frozen KV that are kept from step to step. */
  budgetBytes: number;
  flop: TuningFlop;
  /** A table. */
  toString(): string;
}

/** Adds up what items cost, one after another, without keeping them. */
export class TuningTally {
  readonly #info: ModelInfo;
  readonly #rowsOfPrompt: (site: string) => number;
  readonly #rows = { live: 0, frozen: 0, unneeded: 0, labels: 0 };
  readonly #segments = new Map<string, ExplainedTuningSegment>();
  /** Sites of the trained stages that an item's labels depend on. */
  readonly trained = new Set<string>();
  #items = 0;
  #frozenBytes = 0;
  #largest = 0;
  #flop = { epoch: 0, frozen: 0, recompute: 0 };

  constructor(info: ModelInfo, rowsOfPrompt: (site: string) => number) {
    this.#info = info;
    this.#rowsOfPrompt = rowsOfPrompt;
  }

  add(item: AssembledItem): void {
    this.#items += 1;
    for (const name of ["live", "frozen", "unneeded", "labels"] as const) this.#rows[name] += item.rows[name];
    for (const site of item.trained) this.trained.add(site);
    for (const one of item.live) this.#list(one, "live");
    for (const one of item.frozen) this.#list(one, "frozen");
    const { computed, kept } = frozenBytesOf(this.#info, item);
    this.#frozenBytes += kept;
    this.#largest = Math.max(this.#largest, computed);
    this.#addFlop(item);
  }

  #list({ site, tokens, labels }: AssembledSegment, kind: "live" | "frozen"): void {
    const key = `${kind} ${site}`;
    const entry = this.#segments.get(key) ?? { segment: site, kind, rows: 0, labels: 0 };
    entry.rows += tokens.length;
    entry.labels += labels.reduce((count, label) => count + (label >= 0 ? 1 : 0), 0);
    this.#segments.set(key, entry);
  }

  #addFlop(item: AssembledItem): void {
    const info = this.#info;
    const isFrozen = new Set([...item.frozenPrompts, ...item.frozen].map(({ id }) => id));
    const head = 4 * info.hidden * info.vocab * item.rows.labels;
    for (const segment of item.live) {
      const { all, live } = keysOf(segment, (id) => !isFrozen.has(id));
      const rows = segment.tokens.length;
      this.#flop.epoch += forward(info, rows, all) + backward(info, rows, all, live);
      this.#flop.recompute += forward(info, rows, all) + backward(info, rows, all, all);
    }
    for (const segment of item.frozen) {
      const { all } = keysOf(segment, () => false);
      const rows = segment.tokens.length;
      this.#flop.frozen += forward(info, rows, all);
      this.#flop.recompute += forward(info, rows, all) + backward(info, rows, all, all);
    }
    this.#flop.epoch += head;
    this.#flop.recompute += head;
    for (const site of [...item.trained, ...item.frozenPrompts.map((one) => one.site)]) {
      this.#flop.recompute += promptFlop(info, this.#rowsOfPrompt(site));
    }
  }

  explain(parameters: readonly Parameter[], batchSize: number, budgetBytes: number): TuningExplanation {
    const steps = Math.ceil(this.#items / batchSize);
    const prompts = parameters.reduce((sum, { rows }) => sum + promptFlop(this.#info, rows), 0);
    const explanation = {
      items: this.#items,
      batchSize,
      parameters,
      rows: { ...this.#rows },
      segments: [...this.#segments.values()].map((one) => ({ ...one })),
      frozenBytes: this.#frozenBytes,
      largestBytes: this.#largest,
      budgetBytes,
      flop: { ...this.#flop, epoch: this.#flop.epoch + steps * prompts },
    };
    return { ...explanation, toString: () => tableOf(explanation) };
  }
}

/** Keys that the rows of a segment read, all rows together: those of its view, and its own causally. */
function keysOf(
  { tokens: { length: rows }, reads }: AssembledSegment,
  isLive: (id: string) => boolean,
): { all: number; live: number } {
  const own = (rows * (rows + 1)) / 2;
  const read = (of: AssembledSegment["reads"]) => of.reduce((sum, one) => sum + rows * one.rows, 0);
  return { all: own + read(reads), live: own + read(reads.filter((one) => isLive(one.id))) };
}

/** Weights of the layers' matrices. */
function layerWeights({ layers, hidden, heads, kvHeads, headDim, ffn }: ModelInfo): number {
  return layers * hidden * (2 * heads * headDim + 2 * kvHeads * headDim + 3 * ffn);
}

function perKey({ layers, heads, headDim }: ModelInfo): number {
  return 4 * layers * heads * headDim;
}

function forward(info: ModelInfo, rows: number, keys: number): number {
  return 2 * layerWeights(info) * rows + perKey(info) * keys;
}

function backward(info: ModelInfo, rows: number, keys: number, liveKeys: number): number {
  return 2 * layerWeights(info) * rows + perKey(info) * (keys + liveKeys);
}

function promptFlop(info: ModelInfo, rows: number): number {
  const keys = (rows * (rows + 1)) / 2;
  return forward(info, rows, keys) + backward(info, rows, keys, keys);
}

function tableOf(explanation: Omit<TuningExplanation, "toString">): string {
  const { items, batchSize, parameters, rows, segments, flop } = explanation;
  const count = (value: number) => value.toLocaleString("en-US");
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const tera = (value: number) => `${(value / 1e12).toPrecision(3)} TFLOP`;
  const perItem = (value: number) => (value / items).toFixed(1);
  const lines = [
    ["", "rows", "per item", "scored"],
    ...parameters.map((one) => [`trained  prompt of ${one.stage}`, count(one.rows), "once a step", ""]),
    ...segments.map((one) => [
      `${one.kind.padEnd(8)} ${one.segment}`,
      count(one.rows),
      perItem(one.rows),
      one.labels === 0 ? "" : count(one.labels),
    ]),
    ["unneeded", count(rows.unneeded), perItem(rows.unneeded), ""],
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const table = lines.map((line) =>
    line
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
  return [
    `${count(items)} items, ${batchSize} a step`,
    ...table,
    `frozen KV: ${mebibytes(explanation.frozenBytes)} of rows that live ones read, at most ` +
      `${mebibytes(explanation.budgetBytes)} of it kept; while computed ${mebibytes(explanation.largestBytes)} an item`,
    `an epoch: ${tera(flop.epoch)}, after ${tera(flop.frozen)} once for frozen rows; computing everything again: ` +
      `${tera(flop.recompute)} (${(flop.recompute / flop.epoch).toFixed(1)} times as much)`,
  ].join("\n");
}
