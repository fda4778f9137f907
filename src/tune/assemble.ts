// SPDX-License-Identifier: Apache-2.0
// From a record's texts to rows: tokens as serving has them, row for row, where every segment stands, what it reads, and
// which token each scored row should predict. Pure data; nothing is computed here.
//
// An output's rows are its opener and the lead with the gold text. The row before a token predicts it: the first gold
// token is the label of the opener's last row, without an opener of the last own input's last row; the closing token is
// the label of the last row and never a row itself. The opener is not scored.

import { frameExtent, placeSegment } from "../chain/frame.js";
import type { StageSettings } from "../chain/options.js";
import type { Plan, PlannedSegment, SegmentId } from "../chain/plan.js";
import { planChain } from "../chain/plan.js";
import type { Step } from "../chain/steps/index.js";
import { closerIds, inputTokens, openerTokens } from "../chain/tokens.js";
import type { Layout } from "../chain/types.js";
import { ChainInvalidError, ContextLimitError, InternalError } from "../errors.js";
import type { Tokenizer } from "../model/tokenizer.js";
import type { RowKind } from "./plan.js";
import { kindsOf } from "./plan.js";
import type { Origin, RecordValues } from "./record.js";
import { dataInvalid } from "./record.js";
import type { RowCounts } from "./task.js";

/** What all items of a task have in common. */
export interface Frame {
  tokenizer: Tokenizer;
  /** Most positions of a frame. */
  contextLength: number;
  layout: Layout;
  steps: readonly Step[];
  /** By the site of its stage. */
  settings: ReadonlyMap<string, StageSettings>;
  /** Sites of the stages whose prompts are trained. */
  trained: ReadonlySet<string>;
  /** Sites of the stages whose outputs are scored. */
  labelled: ReadonlySet<string>;
  /** Rows of every prompt, trained or not, by the site of its stage. */
  promptRows: ReadonlyMap<string, number>;
}

export interface AssembledRead {
  id: SegmentId;
  rows: number;
  /** Reader's position minus writer's of the same row. */
  shift: number;
}

export interface AssembledSegment {
  id: SegmentId;
  /** Without the numbers of rounds and branches. */
  site: string;
  kind: "input" | "output";
  /** Position of row 0 in its own frame. */
  start: number;
  tokens: Int32Array;
  /** [rows] Token that the row should predict, or -1. */
  labels: Int32Array;
  /** In view order. */
  reads: readonly AssembledRead[];
}

export interface AssembledItem {
  /** Prompts that are read and not trained, with the position of row 0. */
  frozenPrompts: readonly { id: SegmentId; site: string; start: number }[];
  /** In an order in which they can be computed. */
  frozen: readonly AssembledSegment[];
  live: readonly AssembledSegment[];
  /** Frozen segments and prompts that live rows read; the other frozen ones are read by frozen ones alone. */
  kept: ReadonlySet<SegmentId>;
  /** Sites of the trained stages whose prompts live rows depend on. */
  trained: readonly string[];
  rows: RowCounts;
}

/** Throws DATA_INVALID and CONTEXT_LIMIT naming the record and what of it is wrong; CHAIN_INVALID. */
export function assembleItem(frame: Frame, values: RecordValues, origin: Origin): AssembledItem {
  return new Assembly(frame, values, origin).item();
}

class Assembly {
  readonly #frame: Frame;
  readonly #values: RecordValues;
  readonly #origin: Origin;
  readonly #plan: Plan;
  readonly #tokens = new Map<SegmentId, Int32Array>();

  constructor(frame: Frame, values: RecordValues, origin: Origin) {
    this.#frame = frame;
    this.#values = values;
    this.#origin = origin;
    this.#plan = planChain(frame.steps, { counts: values.counts, slots: frame.trained });
  }

  item(): AssembledItem {
    const { trained, labelled } = this.#frame;
    const prompts = new Set([...trained].flatMap((site) => this.#plan.promptOf.get(site) ?? []));
    const given = this.#givenLabels();
    const before = kindsOf(this.#plan, prompts, given);
    const scored = new Set([...given].filter((id) => before.get(id) === "live"));
    if (scored.size === 0) {
      const list = [...labelled].map((one) => `"${one}"`).join(", ");
      throw dataInvalid(
        this.#origin,
        "",
        `has no text for ${list} that depends on a trained prompt`,
        "Leave the record out, or give the text that the stage should write.",
      );
    }
    const kinds = kindsOf(this.#plan, prompts, scored);
    const segmentsOf = (kind: RowKind) =>
      this.#plan.segments.filter((one) => one.kind !== "prompt" && kinds.get(one.id) === kind);
    const assemble = (one: PlannedSegment) => this.#assemble(one);
    const live = segmentsOf("live").map(assemble);
    const frozen = segmentsOf("frozen").map(assemble);
    for (const id of scored) this.#label(id, live);
    const labels = sum(live, (one) => one.labels.reduce((count, label) => count + (label >= 0 ? 1 : 0), 0));
    const rows = {
      live: sum(live, (one) => one.tokens.length),
      frozen: sum(frozen, (one) => one.tokens.length),
      unneeded: sum(segmentsOf("unneeded"), (one) => this.#rowsIfKnown(one)),
      labels,
    };
    const read = this.#plan.segments.filter(
      (one) => one.kind === "prompt" && kinds.get(one.id) !== "unneeded",
    );
    const isTrained = ({ id }: PlannedSegment) => prompts.has(id);
    return {
      frozenPrompts: read
        .filter((one) => !isTrained(one))
        .map(({ id, site }) => ({ id, site, start: this.#place(id).start })),
      frozen,
      live,
      kept: new Set(
        live.flatMap(({ reads }) => reads.map(({ id }) => id)).filter((id) => kinds.get(id) === "frozen"),
      ),
      trained: read.filter(isTrained).map(({ site }) => site),
      rows,
    };
  }

  /** Outputs of labelled stages that the record has a text for. */
  #givenLabels(): Set<SegmentId> {
    const given = new Set<SegmentId>();
    for (const { id, kind, name, site } of this.#plan.segments) {
      if (kind !== "output" || !this.#frame.labelled.has(site)) continue;
      if (this.#values.texts.has(name)) given.add(id);
      else if (!this.#values.ended.has(name)) {
        throw this.#missing(
          name,
          `"${site}" is to be scored on it`,
          "Give the text that the stage should write.",
        );
      }
    }
    return given;
  }

  // ---- tokens and places

  #segment(id: SegmentId): PlannedSegment {
    const found = this.#plan.byId.get(id);
    if (found === undefined) throw new InternalError(`Segment "${id}" is not in the plan.`);
    return found;
  }

  #lengthOf = (id: SegmentId): number => {
    const { kind, site } = this.#segment(id);
    if (kind !== "prompt") return this.#tokensOf(id).length;
    return this.#frame.promptRows.get(site) ?? 0;
  };

  #place(id: SegmentId) {
    return placeSegment(this.#plan, this.#frame.layout, id, this.#lengthOf);
  }

  #tokensOf(id: SegmentId): Int32Array {
    let tokens = this.#tokens.get(id);
    if (tokens === undefined) {
      const segment = this.#segment(id);
      const text = this.#textOf(segment);
      const atZero = this.#place(id).start === 0;
      tokens =
        segment.kind === "input" ? this.#input(segment, text, atZero) : this.#output(segment, text, atZero);
      this.#tokens.set(id, tokens);
    }
    return tokens;
  }

  #textOf({ id, name, value }: PlannedSegment): string {
    const key = value ?? name;
    const text = this.#values.texts.get(key);
    const field = this.#values.fields.get(key) ?? key;
    if (text === "") {
      throw dataInvalid(
        this.#origin,
        field,
        "is empty",
        "Give a text of at least one token, or leave the record out.",
      );
    }
    if (text !== undefined) return text;
    const reader = this.#plan.segments.find(({ reads }) => reads.includes(id));
    const why = reader === undefined ? "what follows stands behind it" : `"${reader.name}" reads it`;
    throw this.#missing(key, why, `Give the text of "${name}".`);
  }

  #missing(name: string, why: string, remedy: string) {
    const field = this.#values.fields.get(name) ?? name;
    const renamed = "If the data call it otherwise, say so in `fields` (--field).";
    return dataInvalid(this.#origin, field, `is missing, and ${why}`, `${remedy} ${renamed}`);
  }

  #noTokens({ name }: PlannedSegment) {
    return dataInvalid(
      this.#origin,
      this.#values.fields.get(name) ?? name,
      "has no tokens in this model's vocabulary",
      "Give a text of at least one token, or leave the record out.",
    );
  }

  #input(segment: PlannedSegment, text: string, atZero: boolean): Int32Array {
    const description = this.#plan.inputs.get(segment.site);
    if (description === undefined) throw new InternalError(`Input "${segment.id}" has no description.`);
    try {
      return inputTokens(this.#frame.tokenizer, description.name, description, text, atZero);
    } catch (error) {
      throw ChainInvalidError.isInstance(error) ? this.#noTokens(segment) : error;
    }
  }

  #settings(site: string): StageSettings {
    const found = this.#frame.settings.get(site);
    if (found === undefined) throw new InternalError(`Stage "${site}" has no settings.`);
    return found;
  }

  #opener({ name, site }: PlannedSegment, atZero: boolean): Int32Array {
    const { opener, own } = this.#settings(site);
    return openerTokens(this.#frame.tokenizer, name, opener, own.length > 0, atZero);
  }

  #output(segment: PlannedSegment, text: string, atZero: boolean): Int32Array {
    const { tokenizer } = this.#frame;
    const plain = { specials: false };
    const { lead } = this.#settings(segment.site);
    const gold = tokenizer.encode(lead + text, plain);
    const leadOnly = gold.length <= tokenizer.encode(lead, plain).length;
    if (gold.length === 0 || (leadOnly && tokenizer.encode(text, plain).length === 0)) {
      throw this.#noTokens(segment);
    }
    const opener = this.#opener(segment, atZero);
    const tokens = new Int32Array(opener.length + gold.length);
    tokens.set(opener);
    tokens.set(gold, opener.length);
    return tokens;
  }

  #assemble(segment: PlannedSegment): AssembledSegment {
    const { id, site } = segment;
    const tokens = this.#tokensOf(id);
    this.#checkContext(segment, tokens.length);
    const { start, reads } = this.#place(id);
    return {
      id,
      site,
      kind: segment.kind as "input" | "output",
      start,
      tokens,
      labels: new Int32Array(tokens.length).fill(-1),
      reads: reads.map((one) => ({ id: one.id, rows: this.#lengthOf(one.id), shift: one.shift })),
    };
  }

  #checkContext({ id, name, reads }: PlannedSegment, rows: number): void {
    const { contextLength, layout } = this.#frame;
    const needed = frameExtent(this.#plan, layout, id, this.#lengthOf, rows);
    const over = needed - contextLength;
    if (over <= 0) return;
    const parts = [...reads.map((one) => `${one} ${this.#lengthOf(one)}`), `own rows ${rows}`];
    throw new ContextLimitError(
      `${this.#origin.label}: the frame of "${name}" needs ${needed} positions (${parts.join(", ")}), ` +
        `${over} more than the model's ${contextLength}. ` +
        "Leave the record out, shorten its texts, read less, or train fewer virtual tokens.",
      { facts: { ...this.#origin.facts, step: name, needed, limit: contextLength, over } },
    );
  }

  /** Rows of a segment that nothing needs; 0 if the record does not say. */
  #rowsIfKnown(segment: PlannedSegment): number {
    const isKnown = (one: PlannedSegment): boolean => {
      if (one.kind === "prompt") return true;
      const hasText = (this.#values.texts.get(one.value ?? one.name) ?? "") !== "";
      if (!hasText || this.#frame.layout === "concatenated") return hasText;
      return one.reads.every((id) => isKnown(this.#segment(id)));
    };
    const { segments } = this.#plan;
    const before = segments.slice(0, segments.indexOf(segment) + 1);
    const known = this.#frame.layout === "concatenated" ? before.every(isKnown) : isKnown(segment);
    return known ? this.#tokensOf(segment.id).length : 0;
  }

  // ---- labels

  #label(id: SegmentId, live: readonly AssembledSegment[]): void {
    const segment = this.#segment(id);
    const at = live.find((one) => one.id === id);
    if (at === undefined) throw new InternalError(`Scored segment "${id}" is not live.`);
    const { tokens, labels, start } = at;
    const opener = this.#opener(segment, start === 0).length;
    for (let row = Math.max(0, opener - 1); row + 1 < tokens.length; row++)
      labels[row] = tokens[row + 1] as number;
    const { closers } = this.#settings(segment.site);
    const [closer] = closerIds(this.#frame.tokenizer, segment.name, closers);
    if (closer === undefined) {
      throw new ChainInvalidError(
        `Stage "${segment.site}" cannot be trained to end: this tokenizer has no closing token. Give it \`closers\`.`,
        { facts: { step: segment.site } },
      );
    }
    labels[labels.length - 1] = closer;
    if (opener === 0) this.#labelOwn(segment, tokens[0] as number, live);
  }

  /** Without an opener the last own input's last row predicts the first gold token. */
  #labelOwn(
    { id, site, stage, reads }: PlannedSegment,
    token: number,
    live: readonly AssembledSegment[],
  ): void {
    const own = reads.filter(
      (one) => this.#segment(one).kind === "input" && this.#segment(one).stage === stage,
    );
    const last = live.find((one) => one.id === own.at(-1));
    if (last !== undefined) {
      last.labels[last.labels.length - 1] = token;
      return;
    }
    throw new ChainInvalidError(
      `Stage "${site}" cannot be trained: it has no opener, and the rows of its last own input "${own.at(-1) ?? id}", ` +
        "from which its first token comes, depend on no trained prompt. Give the stage an `opener`.",
      { facts: { step: site } },
    );
  }
}

function sum<T>(list: readonly T[], of: (one: T) => number): number {
  return list.reduce((total, one) => total + of(one), 0);
}
