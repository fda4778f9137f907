// SPDX-License-Identifier: Apache-2.0
// Who reads what. From the steps of a chain to its segments, in order of declaration, each with the segments its rows
// read in view order. Pure data: no model, no lengths, no positions (those are frame.ts).
//
// A view is never transitive: a segment reads exactly what its list names, whatever those segments read themselves.

import { ChainInvalidError, InternalError } from "../errors.js";
import type { SegmentKind } from "../native/types.js";
import type { Step } from "./steps/step.js";

/** Index of a segment in `Plan.segments`. */
export type SegmentId = number;

export interface PlannedSegment {
  id: SegmentId;
  kind: SegmentKind;
  /** The input's or stage's name; a prompt has its stage's. */
  name: string;
  /** The stage that alone reads it (prompts, own inputs) or writes it (outputs); null for shared inputs. */
  stage: string | null;
  /** In view order: the prompt if any, the reads in order of declaration, the stage's own inputs. */
  reads: readonly SegmentId[];
}

/** How an input's text becomes tokens and what its KV depends on. */
export interface InputDescription {
  /** Text with `{name}` for the value; null: the value as it is. */
  format: string | null;
  alone: boolean;
}

/** Where a stage places one of its own inputs. */
export interface OwnSite {
  stage: string;
  /** The stage's prompt, if it has one. */
  prompt: readonly SegmentId[];
  /** What the stage reads. */
  reads: readonly SegmentId[];
  /** The stage's own inputs before this one. */
  earlier: readonly SegmentId[];
}

export interface Plan {
  segments: readonly PlannedSegment[];
  inputs: ReadonlyMap<string, InputDescription>;
  /** Segment id of each input's and stage's rows. */
  idOf: ReadonlyMap<string, SegmentId>;
  /** Segment id of each stage's prompt, for stages that have one. */
  promptOf: ReadonlyMap<string, SegmentId>;
}

/** What a segment is called in messages and tables. */
export function segmentLabel(segment: PlannedSegment): string {
  return segment.kind === "prompt" ? `prompt of ${segment.name}` : segment.name;
}

/** Collects segments while the steps of a chain are planned one after another. */
export class Planner {
  readonly segments: PlannedSegment[] = [];
  readonly idOf = new Map<string, SegmentId>();
  readonly promptOf = new Map<string, SegmentId>();
  readonly inputs = new Map<string, InputDescription>();
  readonly #left = new Map<string, (site: OwnSite) => SegmentId>();
  readonly #steps: ReadonlyMap<string, Step>;
  readonly #ownerOf: ReadonlyMap<string, string>;

  constructor(steps: readonly Step[]) {
    this.#steps = new Map(steps.map((step) => [step.name, step]));
    this.#ownerOf = ownersOf(steps);
  }

  /** The stage that has this input as its own, or null. */
  ownerOf(name: string): string | null {
    return this.#ownerOf.get(name) ?? null;
  }

  describe(name: string, description: InputDescription): void {
    this.inputs.set(name, description);
  }

  /** Keeps the planning of an own input until its stage is planned. */
  leaveToOwner(name: string, planOwn: (site: OwnSite) => SegmentId): void {
    this.#left.set(name, planOwn);
  }

  /** Plans the own inputs of a stage, in the order of its `own`. */
  takeOwn(names: readonly string[], site: Omit<OwnSite, "earlier">): SegmentId[] {
    const earlier: SegmentId[] = [];
    for (const name of names) {
      const planOwn = this.#left.get(name);
      if (planOwn === undefined) throw new InternalError(`Own input "${name}" was not planned.`);
      earlier.push(planOwn({ ...site, earlier: [...earlier] }));
    }
    return earlier;
  }

  add(segment: Omit<PlannedSegment, "id">): SegmentId {
    const id = this.segments.length;
    this.segments.push({ ...segment, id });
    if (segment.kind === "prompt") this.promptOf.set(segment.name, id);
    else this.idOf.set(segment.name, id);
    return id;
  }

  /** Segments that may be read by default at this point: everything declared so far that nobody owns. */
  shared(kinds: readonly SegmentKind[]): SegmentId[] {
    const open = (one: PlannedSegment) => kinds.includes(one.kind) && this.ownerOf(one.name) === null;
    return this.segments.filter(open).map((one) => one.id);
  }

  /**
   * Ids of `names` in order of declaration, each checked against `allowed`; without names all of `allowed`.
   * Throws CHAIN_INVALID naming the step, the name, why, and what is available.
   */
  resolve(step: string, names: readonly string[] | undefined, allowed: readonly SegmentId[]): SegmentId[] {
    if (names === undefined) return [...allowed];
    for (const [at, name] of names.entries()) {
      const id = this.idOf.get(name);
      if (id === undefined || !allowed.includes(id)) throw this.#unreadable(step, name, allowed);
      if (names.indexOf(name) !== at) {
        throw new ChainInvalidError(`"${step}" reads "${name}" twice. Name it once.`, {
          facts: { step, name },
        });
      }
    }
    return allowed.filter((id) => names.includes((this.segments[id] as PlannedSegment).name));
  }

  #unreadable(step: string, name: string, allowed: readonly SegmentId[]): ChainInvalidError {
    const available = allowed.map((id) => (this.segments[id] as PlannedSegment).name);
    const list = available.length === 0 ? "nothing" : available.map((one) => `"${one}"`).join(", ");
    return new ChainInvalidError(
      `"${step}" cannot read "${name}": ${this.#reason(step, name)}. It may read ${list}.`,
      { facts: { step, name, available } },
    );
  }

  #reason(step: string, name: string): string {
    const owner = this.ownerOf(name);
    if (name === step) return "a step does not read itself by name";
    if (owner === step) return "it is an own input of this stage and always read; leave it out of `reads`";
    if (owner !== null) return `it is private to stage "${owner}", which names it in \`own\``;
    const found = this.idOf.get(name);
    if (found !== undefined) return "an input reads inputs only, never a stage's output";
    return this.#steps.has(name) ? "it is declared later" : "nothing of that name is declared";
  }
}

/** Input name -> owning stage. Claims are checked here, before anything is planned. */
function ownersOf(steps: readonly Step[]): Map<string, string> {
  const owners = new Map<string, string>();
  const declared: string[] = [];
  for (const step of steps) {
    for (const name of step.claims) {
      const facts = { step: step.name, name, available: declared.filter((one) => !owners.has(one)) };
      const fail = (why: string) =>
        new ChainInvalidError(
          `Stage "${step.name}" cannot own "${name}": ${why}. ` +
            `It may own ${facts.available.map((one) => `"${one}"`).join(", ") || "nothing"}.`,
          { facts },
        );
      const owner = owners.get(name);
      if (owner === step.name) throw fail("it is named twice");
      if (owner !== undefined) throw fail(`it is already private to stage "${owner}"`);
      if (!declared.includes(name)) throw fail("no input of that name is declared before");
      owners.set(name, step.name);
    }
    if (step.claimable) declared.push(step.name);
  }
  return owners;
}

/** The plan of a whole chain; throws CHAIN_INVALID when the definition contradicts the rules. */
export function planChain(steps: readonly Step[]): Plan {
  const names = new Set<string>();
  for (const { name } of steps) {
    if (names.has(name)) {
      throw new ChainInvalidError(
        `"${name}" is declared twice. Give each input and stage a name of its own.`,
        {
          facts: { name },
        },
      );
    }
    names.add(name);
  }
  const planner = new Planner(steps);
  for (const step of steps) step.plan(planner);
  const { segments, inputs, idOf, promptOf } = planner;
  return { segments, inputs, idOf, promptOf };
}
