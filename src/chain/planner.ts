// SPDX-License-Identifier: Apache-2.0
// Collects the segments of a plan while the steps are planned one after another. A scope is what one list of steps
// sees: a group's body is planned in a scope of its own, once per instance, and what the group shows outside is
// readable under the group's name.

import { ChainInvalidError, InternalError } from "../errors.js";
import type { SegmentKind } from "../native/types.js";
import { didYouMean } from "../suggest.js";
import { sitesOf } from "./names.js";
import type { StageSettings } from "./options.js";
import type { Counts, InputDescription, PlannedSegment, PlanOptions, SegmentId } from "./plan.js";
import type { Step } from "./steps/step.js";

/** Where a stage places one of its own inputs. */
export interface OwnSite {
  /** Name of the stage's output. */
  stage: string;
  /** The stage's prompt, if it has one. */
  prompt: readonly SegmentId[];
  /** What the stage reads. */
  reads: readonly SegmentId[];
  /** The stage's own inputs before this one. */
  earlier: readonly SegmentId[];
}

export interface Scope {
  /** In front of the names of its segments: "debate[1].". */
  prefix: string;
  /** The same without numbers. */
  site: string;
  /** What may be read by default, in view order. */
  readable: SegmentId[];
  /** What each name stands for so far: one segment, those of all rounds so far, those of a group. */
  named: Map<string, readonly SegmentId[]>;
  /** Site of what every name declared so far stands for. */
  sites: Map<string, string>;
  /** All names of the steps, later ones too. */
  listed: Set<string>;
}

export class Planner {
  readonly segments: PlannedSegment[] = [];
  readonly byId = new Map<SegmentId, PlannedSegment>();
  readonly promptOf = new Map<string, SegmentId>();
  readonly inputs = new Map<string, InputDescription>();
  readonly #left = new Map<string, (site: OwnSite) => SegmentId>();
  readonly #ownerOf: ReadonlyMap<string, string>;
  readonly #counts: Counts;
  readonly #ahead: number;
  readonly #slots: ReadonlySet<string>;
  #scope: Scope;

  constructor(
    scope: Scope,
    ownerOf: ReadonlyMap<string, string>,
    { counts, ahead, slots }: Required<PlanOptions>,
  ) {
    this.#scope = scope;
    this.#ownerOf = ownerOf;
    this.#counts = counts;
    this.#ahead = ahead;
    this.#slots = slots;
  }

  // ---- steps and groups

  /** Plans steps in the present scope; a name in `aliases` stands for a segment that is there already. */
  plan(steps: readonly Step[], aliases: ReadonlyMap<string, SegmentId> = new Map()): void {
    for (const { name } of steps) this.#scope.listed.add(name);
    for (const step of steps) {
      const alias = aliases.get(step.name);
      const site = alias === undefined ? this.siteOf(step.name) : this.#segment(alias).site;
      this.#scope.sites.set(step.name, site);
      if (alias === undefined) step.plan(this);
      else this.#show(step.name, [alias], true);
    }
  }

  /** Name of a step of this scope among those of the whole chain. */
  nameOf(step: string): string {
    return this.#scope.prefix + step;
  }

  siteOf(step: string): string {
    return this.#scope.site + step;
  }

  /** How often the group `name` runs; not known yet: `most`, as far as this plan looks ahead. */
  instancesOf(name: string, most: number): number {
    return this.#counts.get(this.nameOf(name)) ?? Math.min(most, this.#ahead);
  }

  /**
   * Steps of the group `name` that stand in the chain's own line, once per label ("[0]", "[1]"), each instance after
   * the one before: all they share is readable from there on, and outside under the group's name.
   */
  planInLine(name: string, labels: readonly string[], body: readonly Step[]): void {
    this.#addPrompts(name, body);
    const inner = this.#inside();
    const before = inner.readable.length;
    inner.named.set(name, []); // inside, the name stands for the instances so far
    for (const label of labels) {
      this.#within({ ...inner, ...this.#places(name, label) }, () => this.plan(body));
      inner.named.set(name, inner.readable.slice(before));
    }
    this.#show(name, inner.readable.slice(before), true);
  }

  /** Instances of the group that see what stands around them but not each other; outside, their outputs are read. */
  planApart(name: string, labels: readonly string[], body: readonly Step[]): void {
    this.#addPrompts(name, body);
    const outputs = labels.flatMap((label) => {
      const inner = { ...this.#inside(), ...this.#places(name, label) };
      const before = inner.readable.length;
      this.#within(inner, () => this.plan(body));
      return this.#outputs(inner.readable.slice(before));
    });
    this.#show(name, outputs, true);
  }

  /** Steps that see nothing around them but `aliases`: their own name for a segment -> the segment. */
  planClosed(name: string, body: readonly Step[], aliases: ReadonlyMap<string, SegmentId>): void {
    const inner: Scope = {
      ...this.#places(name, ""),
      readable: [],
      named: new Map(),
      sites: new Map(),
      listed: new Set(),
    };
    this.#within(inner, () => this.plan(body, aliases));
    const known = new Set(aliases.values());
    this.#show(name, this.#outputs(inner.readable.filter((id) => !known.has(id))), true);
  }

  #places(name: string, label: string): Pick<Scope, "prefix" | "site"> {
    return { prefix: `${this.nameOf(name)}${label}.`, site: `${this.siteOf(name)}.` };
  }

  /** A scope that begins with all that this one sees. */
  #inside(): Scope {
    const { readable, named, sites, listed } = this.#scope;
    return {
      ...this.#scope,
      readable: [...readable],
      named: new Map(named),
      sites: new Map(sites),
      listed: new Set(listed),
    };
  }

  #within(scope: Scope, plan: () => void): void {
    const outer = this.#scope;
    this.#scope = scope;
    plan();
    this.#scope = outer;
  }

  #outputs(ids: readonly SegmentId[]): SegmentId[] {
    return ids.filter((id) => this.#segment(id).kind === "output");
  }

  // ---- segments

  #segment(id: SegmentId): PlannedSegment {
    const found = this.byId.get(id);
    if (found === undefined) throw new InternalError(`Segment "${id}" is not in the plan.`);
    return found;
  }

  /** The prompt of a stage of this scope, one for all its instances; none without a prompt or a slot for one. */
  promptsOf(stage: string, settings: StageSettings): SegmentId[] {
    const site = this.siteOf(stage);
    return this.#hasPrompt(site, settings) ? [this.#promptAt(site)] : [];
  }

  #hasPrompt(site: string, settings: StageSettings | undefined): boolean {
    return this.#slots.has(site) || (settings?.prompt ?? null) !== null;
  }

  #promptAt(site: string): SegmentId {
    const found = this.promptOf.get(site);
    if (found !== undefined) return found;
    const id = `prompt of ${site}`;
    this.promptOf.set(site, id);
    this.#add({ id, kind: "prompt", name: site, site, stage: site, reads: [] });
    return id;
  }

  /** Prompts in a group, whether it runs or not: the concatenated layout places everything behind them. */
  #addPrompts(name: string, body: readonly Step[]): void {
    for (const { step, site } of sitesOf(body, `${this.siteOf(name)}.`)) {
      if (this.#hasPrompt(site, step.settings)) this.#promptAt(site);
    }
  }

  /** A segment under the step's name that later steps may read. */
  share(kind: SegmentKind, name: string, stage: string | null, reads: readonly SegmentId[]): SegmentId {
    const id = this.nameOf(name);
    const value = kind === "input" ? { value: id } : {};
    this.#add({ id, kind, name: id, site: this.siteOf(name), stage, ...value, reads });
    this.#show(name, [id], true);
    return id;
  }

  #add(segment: PlannedSegment): void {
    this.segments.push(segment);
    this.byId.set(segment.id, segment);
  }

  /** From here on `name` stands for these segments too. */
  #show(name: string, ids: readonly SegmentId[], readable: boolean): void {
    const { named, readable: all } = this.#scope;
    named.set(name, [...(named.get(name) ?? []), ...ids]);
    if (readable) all.push(...ids);
  }

  // ---- inputs and their owners

  /** Site of the stage that has this input as its own, or null. */
  ownerOf(name: string): string | null {
    const site = this.#scope.sites.get(name);
    return (site === undefined ? undefined : this.#ownerOf.get(site)) ?? null;
  }

  describe(name: string, description: InputDescription): void {
    this.inputs.set(this.siteOf(name), description);
  }

  /** Keeps the planning of an own input until its stage is planned, in whichever group that is. */
  leaveToOwner(name: string, options: { alone: boolean; reads: readonly string[] | undefined }): void {
    const site = this.siteOf(name);
    const value = this.nameOf(name);
    this.#left.set(site, ({ stage, prompt, reads, earlier }) => {
      const visible = this.resolve(name, options.reads, [...reads, ...earlier]);
      const id = this.nameOf(name);
      const all = options.alone ? [] : [...prompt, ...visible];
      this.#add({ id, kind: "input", name: id, site, stage, value, reads: all });
      this.#show(name, [id], false);
      return id;
    });
  }

  /** Plans the own inputs of a stage, in the order of its `own`. */
  takeOwn(names: readonly string[], site: Omit<OwnSite, "earlier">): SegmentId[] {
    const earlier: SegmentId[] = [];
    for (const name of names) {
      const planOwn = this.#left.get(this.#scope.sites.get(name) ?? "");
      if (planOwn === undefined) throw new InternalError(`Own input "${name}" was not planned.`);
      earlier.push(planOwn({ ...site, earlier: [...earlier] }));
    }
    return earlier;
  }

  // ---- reading

  /** What may be read by default at this point: everything declared so far that nobody owns. */
  shared(kinds: readonly SegmentKind[]): SegmentId[] {
    return this.#scope.readable.filter((id) => kinds.includes(this.#segment(id).kind));
  }

  /** The segment that `name` stands for, the latest one in rounds. Throws CHAIN_INVALID as `resolve` does. */
  latest(step: string, name: string): SegmentId {
    const found = this.resolve(step, [name], this.shared(["input", "output"])).at(-1);
    if (found === undefined || this.#segment(found).site !== this.#scope.sites.get(name)) {
      throw new ChainInvalidError(
        `"${step}" cannot take "${name}" for an input: it is a group of steps. Name an input or a stage.`,
        { facts: { step, name } },
      );
    }
    return found;
  }

  /**
   * Ids of `names` in view order, each checked against `allowed`; without names all of `allowed`. A group that did
   * not run stands for nothing. Throws CHAIN_INVALID naming the step, the name, why, and what is available.
   */
  resolve(step: string, names: readonly string[] | undefined, allowed: readonly SegmentId[]): SegmentId[] {
    if (names === undefined) return [...allowed];
    const open = new Set(allowed);
    const wanted = new Set<SegmentId>();
    for (const [at, name] of names.entries()) {
      const ids = this.#scope.named.get(name);
      const readable = ids?.filter((id) => open.has(id));
      if (ids === undefined || readable === undefined || (ids.length > 0 && readable.length === 0)) {
        throw this.#unreadable(step, name, allowed);
      }
      if (names.indexOf(name) !== at) {
        throw new ChainInvalidError(`"${step}" reads "${name}" twice. Name it once.`, {
          facts: { step, name },
        });
      }
      for (const id of readable) wanted.add(id);
    }
    return allowed.filter((id) => wanted.has(id));
  }

  #unreadable(step: string, name: string, allowed: readonly SegmentId[]): ChainInvalidError {
    const named = [...this.#scope.named].filter(([, ids]) => ids.some((id) => allowed.includes(id)));
    const available = named.map(([one]) => one);
    const list = available.length === 0 ? "nothing" : available.map((one) => `"${one}"`).join(", ");
    return new ChainInvalidError(
      `"${step}" cannot read "${name}": ${this.#reason(step, name)}. It may read ${list}.${didYouMean(name, available)}`,
      { facts: { step, name, available } },
    );
  }

  #reason(step: string, name: string): string {
    const owner = this.ownerOf(name);
    if (name === step) return "a step does not read itself by name";
    if (owner === this.siteOf(step)) {
      return "it is an own input of this stage and always read; leave it out of `reads`";
    }
    if (owner !== null) return `it is private to stage "${owner}", which names it in \`own\``;
    if (this.#scope.named.has(name)) return "an input reads inputs only, never a stage's output";
    return this.#scope.listed.has(name) ? "it is declared later" : "nothing of that name is declared";
  }
}
