// SPDX-License-Identifier: Apache-2.0
// What a chain will do, before it does it: its segments, what each reads, where it stands and with which shift. A
// position is linear in the lengths of segments, so an unknown length stays in the table as |name|.

import { OptionInvalidError } from "../errors.js";
import type { Model } from "../model/model.js";
import { didYouMean } from "../suggest.js";
import type { ChainDefinition } from "./definition.js";
import type { LengthOf } from "./frame.js";
import { placeSegment } from "./frame.js";
import { sitesOf } from "./names.js";
import type { PictureKind } from "./pictures/index.js";
import { pictureKinds, pictures } from "./pictures/index.js";
import type { Plan, PlannedSegment, SegmentId } from "./plan.js";
import { planChain } from "./plan.js";
import type { Step } from "./steps/index.js";
import { inputTokens, openerTokens } from "./tokens.js";
import type { Layout } from "./types.js";

/** `constant` plus, for every segment of unknown length, a multiple of its rows. */
export interface Position {
  constant: number;
  /** Segment label -> factor. */
  terms: Readonly<Record<string, number>>;
  /** e.g. "14 + |passages|". */
  text: string;
}

export interface ExplainedRead {
  segment: string;
  /** Position of its row 0 in the reader's frame. */
  at: Position;
  /** Reader's position minus writer's, of every row. */
  shift: Position;
}

export interface ExplainedSegment {
  segment: string;
  kind: "prompt" | "input" | "output";
  /** The stage that writes it or alone reads it; null: shared. */
  stage: string | null;
  /** Position of row 0 in its own frame. */
  start: Position;
  /** null: not known before it is written. */
  rows: number | null;
  reads: ExplainedRead[];
  /** Outputs: the tokens it begins with, as the tokenizer names them. */
  opener?: string[];
  /** Outputs: the opener as it was given, or the default one's name. */
  openerText?: string;
}

export interface ExplainedGroup {
  group: string;
  /** How often its steps run. At most `shown` instances are among the segments. */
  runs: string;
  shown: number;
}

export interface Explanation {
  layout: Layout;
  /** Groups whose steps may run more or less often than once. */
  groups: ExplainedGroup[];
  segments: ExplainedSegment[];
  /** A text: "table"; "svg", the mask with rows to scale; "mermaid", a flowchart. */
  draw(picture: PictureKind): string;
  /** The table. */
  toString(): string;
}

type Lengths = Map<SegmentId, number>;

/** Rounds and branches that are listed of one group. */
const shownInstances = 8;

export async function explainChain(
  { model, layout, steps }: ChainDefinition,
  inputs: Readonly<Record<string, string | undefined>>,
): Promise<Explanation> {
  const plan = planChain(steps, { ahead: shownInstances });
  const known: Lengths = new Map();
  const stepOf = new Map<string, Step>();
  const groups: ExplainedGroup[] = [];
  for (const { step, site } of sitesOf(steps)) {
    stepOf.set(site, step);
    if (step.note !== undefined) groups.push({ group: site, runs: step.note, shown: shownInstances });
    const prompt = await step.loadPrompt?.(model);
    const id = plan.promptOf.get(site);
    if (prompt && id !== undefined) known.set(id, prompt.count);
  }
  const segments: ExplainedSegment[] = [];
  for (const segment of plan.segments) {
    const start = linear(plan, known, (lengthOf) => placeSegment(plan, layout, segment.id, lengthOf).start);
    const atZero = start.constant === 0 && Object.keys(start.terms).length === 0;
    const value = inputs[segment.value ?? ""];
    const description = plan.inputs.get(segment.site);
    if (segment.kind === "input" && description !== undefined && value !== undefined) {
      const tokens = inputTokens(model.tokenizer, description.name, description, value, atZero);
      known.set(segment.id, tokens.length);
    }
    segments.push({
      segment: segment.id,
      kind: segment.kind,
      stage: segment.stage,
      start,
      rows: known.get(segment.id) ?? null,
      reads: explainReads(plan, layout, segment, known),
      ...explainOpener(model, segment, stepOf.get(segment.site), atZero),
    });
  }
  const draw = (picture: PictureKind) => {
    if (Object.hasOwn(pictures, picture)) return pictures[picture]({ layout, groups, segments });
    const known = pictureKinds.join(", ");
    throw new OptionInvalidError(
      `There is no picture "${picture}". Ask for one of ${known}.${didYouMean(picture, pictureKinds)}`,
      {
        facts: { option: "picture", value: String(picture), available: pictureKinds },
      },
    );
  };
  return { layout, groups, segments, draw, toString: () => draw("table") };
}

function explainReads(
  plan: Plan,
  layout: Layout,
  { id, reads }: PlannedSegment,
  known: Lengths,
): ExplainedRead[] {
  return reads.map((one, place) => {
    const read = (lengthOf: LengthOf) => {
      const found = placeSegment(plan, layout, id, lengthOf).reads[place];
      return found ?? { at: 0, shift: 0 };
    };
    return {
      segment: one,
      at: linear(plan, known, (lengthOf) => read(lengthOf).at),
      shift: linear(plan, known, (lengthOf) => read(lengthOf).shift),
    };
  });
}

function explainOpener(
  model: Model,
  { kind, name }: PlannedSegment,
  step: Step | undefined,
  atZero: boolean,
) {
  if (kind !== "output" || step?.settings === undefined) return {};
  const { opener, own } = step.settings;
  const ids = openerTokens(model.tokenizer, name, opener, own.length > 0, atZero);
  const names = [...ids].map((id) => model.tokenizer.tokenName(id));
  return { opener: names, openerText: opener ?? names.join("") };
}

/** Reads the factors of a linear function of the unknown lengths off its values. */
function linear(plan: Plan, known: Lengths, of: (lengthOf: LengthOf) => number): Position {
  const at = (unknown: SegmentId | null) => of((id) => known.get(id) ?? (id === unknown ? 1 : 0));
  const constant = at(null);
  const terms: Record<string, number> = {};
  for (const segment of plan.segments) {
    if (known.has(segment.id)) continue;
    const factor = at(segment.id) - constant;
    if (factor !== 0) terms[segment.id] = factor;
  }
  return { constant, terms, text: positionText(constant, terms) };
}

function positionText(constant: number, terms: Readonly<Record<string, number>>): string {
  const parts = Object.entries(terms).map(([name, factor]) => {
    const size = Math.abs(factor) === 1 ? `|${name}|` : `${Math.abs(factor)}*|${name}|`;
    return { sign: factor < 0 ? "-" : "+", size };
  });
  if (constant !== 0 || parts.length === 0) {
    parts.unshift({ sign: constant < 0 ? "-" : "+", size: String(Math.abs(constant)) });
  }
  return parts
    .map(({ sign, size }, place) => (place === 0 ? `${sign === "-" ? "-" : ""}${size}` : ` ${sign} ${size}`))
    .join("");
}
