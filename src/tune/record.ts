// SPDX-License-Identifier: Apache-2.0
// One record of training data in the terms of the chain: the text of every input and output that it gives, and how
// often each group of steps ran. Values are called by the names of the steps; a group's value holds those of its steps:
// rounds a list of rounds ({ stage: text, ... }) or of turns ({ stage, text }), a fan-out a list of branches, anything
// else an object. What a record does not give is not wrong here: whether it is needed, the plan says.

import { sitesOf } from "../chain/names.js";
import type { Step } from "../chain/steps/index.js";
import { DataInvalidError, OptionInvalidError } from "../errors.js";
import { didYouMean } from "../suggest.js";

/** Name in the data -> name of a step, where they differ. */
export type FieldNames = Readonly<Record<string, string>>;

export interface RecordValues {
  /** By the name of a step among those of the whole chain ("turns[0].reason"). */
  texts: ReadonlyMap<string, string>;
  /** How often each group ran, by name; groups that the record says nothing of are not there. */
  counts: ReadonlyMap<string, number>;
  /** Field of the data by name of a step, for messages. */
  fields: ReadonlyMap<string, string>;
  /** Names of steps that the last of some rounds ended before. */
  ended: ReadonlySet<string>;
}

/** Where a record comes from. */
export interface Origin {
  /** "train.jsonl:17" or "record 17". */
  label: string;
  facts: Readonly<Record<string, string | number>>;
}

export function dataInvalid(origin: Origin, field: string, what: string, remedy: string): DataInvalidError {
  const place = field === "" ? origin.label : `${origin.label}: "${field}"`;
  return new DataInvalidError(`${place} ${what}. ${remedy}`, { facts: { ...origin.facts, field } });
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

/** Throws OPTION_INVALID for a name that no step has, or that two names of the data stand for. */
export function checkFields(steps: readonly Step[], fields: FieldNames): void {
  const known = new Set([...sitesOf(steps)].map(({ step }) => step.name));
  const taken = new Map<string, string>();
  for (const [field, name] of Object.entries(fields)) {
    const other = taken.get(name);
    const why = known.has(name) ? `is what "${other}" stands for already` : "is no step of the chain";
    if (known.has(name) && other === undefined) taken.set(name, field);
    else {
      throw new OptionInvalidError(
        `\`fields\` says that "${field}" of the data is "${String(name)}", which ${why}. ` +
          `The chain's steps are ${[...known].join(", ")}.${didYouMean(name, [...known])}`,
        { facts: { option: "fields", value: String(name), available: [...known] } },
      );
    }
  }
}

/** Throws DATA_INVALID naming the record, the field, the type found and what belongs there. */
export function readRecord(
  steps: readonly Step[],
  record: unknown,
  fields: FieldNames,
  origin: Origin,
): RecordValues {
  if (!isObject(record)) {
    throw dataInvalid(
      origin,
      "",
      `is of type ${typeOf(record)}`,
      "Give an object { name: text } with the chain's inputs and outputs.",
    );
  }
  const reader = new RecordReader(fields, origin);
  reader.readSteps(steps, record, { name: "", field: "" });
  return reader;
}

/** In front of the names of steps, and of the fields they come from. */
interface Prefix {
  name: string;
  field: string;
}

class RecordReader implements RecordValues {
  readonly texts = new Map<string, string>();
  readonly counts = new Map<string, number>();
  readonly fields = new Map<string, string>();
  readonly ended = new Set<string>();
  readonly #fieldOf: ReadonlyMap<string, string>;
  readonly #nameOf: ReadonlyMap<string, string>;
  readonly #origin: Origin;

  constructor(fields: FieldNames, origin: Origin) {
    this.#nameOf = new Map(Object.entries(fields));
    this.#fieldOf = new Map(Object.entries(fields).map(([field, name]) => [name, field]));
    this.#origin = origin;
  }

  /** What the data calls a step; null for one whose name the data has for something else. */
  #field(name: string): string | null {
    const renamed = this.#fieldOf.get(name);
    return renamed ?? (this.#nameOf.has(name) ? null : name);
  }

  #fail(field: string, what: string, remedy: string): DataInvalidError {
    return dataInvalid(this.#origin, field, what, remedy);
  }

  readSteps(steps: readonly Step[], values: Record<string, unknown>, prefix: Prefix, bound?: Step): void {
    for (const step of steps) {
      if (bound?.bound?.includes(step.name)) continue;
      const name = prefix.name + step.name;
      const key = this.#field(step.name);
      const field = prefix.field + (key ?? step.name);
      const value = key !== null && Object.hasOwn(values, key) ? (values[key] ?? undefined) : undefined;
      this.fields.set(name, field);
      if (step.body === undefined) this.#readText(name, field, value);
      else this.#readGroup(step, step.body, value, { name, field });
    }
  }

  #readText(name: string, field: string, value: unknown): void {
    if (value === undefined) return;
    if (typeof value !== "string") {
      throw this.#fail(field, `is of type ${typeOf(value)}`, `Give the text of "${name}" as a string.`);
    }
    this.texts.set(name, value);
  }

  #readGroup(step: Step, body: readonly Step[], value: unknown, { name, field }: Prefix): void {
    const inner = { name: `${name}.`, field: `${field}.` };
    if (step.runs?.numbered !== true) {
      if (step.runs !== undefined) this.counts.set(name, value === undefined ? 0 : 1);
      if (value === undefined) return;
      if (!isObject(value)) {
        throw this.#fail(field, `is of type ${typeOf(value)}`, `Give an object with ${namesOf(body)}.`);
      }
      this.readSteps(body, value, inner, step);
      return;
    }
    if (value === undefined) return;
    const instances = this.#instances(step, body, value, field);
    this.counts.set(name, instances.length);
    for (const [index, values] of instances.entries()) {
      const prefix = { name: `${name}[${index}].`, field: `${field}[${index}].` };
      this.readSteps(body, values, prefix);
      if (index === instances.length - 1 && step.apart !== true) this.#noteEnd(body, prefix.name);
    }
  }

  /** Steps of the last round behind the last that the record gives. */
  #noteEnd(body: readonly Step[], prefix: string): void {
    for (const { name, body: inside } of [...body].reverse()) {
      if (inside !== undefined || this.texts.has(prefix + name)) return;
      this.ended.add(prefix + name);
    }
  }

  /** The values of every round or branch. */
  #instances(
    step: Step,
    body: readonly Step[],
    value: unknown,
    field: string,
  ): readonly Record<string, unknown>[] {
    const each = step.apart ? "branch" : "round";
    const shape = `an object with ${namesOf(body)}`;
    if (!Array.isArray(value)) {
      const turns = step.apart ? "" : ", or a list of turns { stage, text }";
      throw this.#fail(field, `is of type ${typeOf(value)}`, `Give a list: per ${each} ${shape}${turns}.`);
    }
    const bad = value.findIndex((one) => !isObject(one));
    if (bad >= 0) {
      throw this.#fail(`${field}[${bad}]`, `is of type ${typeOf(value[bad])}`, `Give per ${each} ${shape}.`);
    }
    const list = value as Record<string, unknown>[];
    const isTurns = step.apart !== true && list.some((one) => Object.hasOwn(one, "stage"));
    const instances = isTurns ? this.#roundsOf(step.name, body, list, field) : list;
    const { least, most } = step.runs ?? { least: 0, most: 0 };
    if (instances.length >= least && instances.length <= most) return instances;
    const allowed = least === most ? `${least}` : `${least} to ${most}`;
    throw this.#fail(
      field,
      `gives ${instances.length} of "${step.name}"`,
      `The chain runs it ${allowed} times: change the record, or the chain's definition.`,
    );
  }

  /** Rounds from turns: each round takes, in the order of its steps, the turns that come next. */
  #roundsOf(
    name: string,
    body: readonly Step[],
    list: readonly Record<string, unknown>[],
    field: string,
  ): Record<string, unknown>[] {
    const turns = list.map(({ stage, text }, index) => {
      if (typeof stage !== "string") {
        throw this.#fail(
          `${field}[${index}].stage`,
          `is of type ${typeOf(stage ?? undefined)}`,
          `Name the step of "${name}" whose text this is: ${namesOf(body)}.`,
        );
      }
      return { stage: this.#nameOf.get(stage) ?? stage, text };
    });
    const rounds: Record<string, unknown>[] = [];
    let next = 0;
    while (next < turns.length) {
      const taken = this.#takeRound(body, turns, next);
      if (taken.next === next) {
        const known = [...sitesOf(body)].some(({ step }) => step.name === turns[next]?.stage);
        throw this.#fail(
          `${field}[${next}].stage`,
          `is "${turns[next]?.stage}", which ${known ? `cannot run first in a round` : `is no step of "${name}"`}`,
          `A round's steps are, in this order, ${namesOf(body)}.`,
        );
      }
      rounds.push(taken.values);
      next = taken.next;
    }
    return rounds;
  }

  #takeRound(
    body: readonly Step[],
    turns: readonly { stage: string; text: unknown }[],
    from: number,
  ): { values: Record<string, unknown>; next: number } {
    const values: Record<string, unknown> = {};
    let next = from;
    for (const step of body) {
      const key = this.#field(step.name) ?? step.name;
      if (step.body === undefined) {
        if (turns[next]?.stage !== step.name) continue;
        values[key] = turns[next]?.text;
        next += 1;
      } else if (step.runs?.numbered === true) {
        const inner: Record<string, unknown>[] = [];
        for (let one = this.#takeRound(step.body, turns, next); one.next > next; ) {
          inner.push(one.values);
          next = one.next;
          one = this.#takeRound(step.body, turns, next);
        }
        if (inner.length > 0) values[key] = inner;
      } else {
        const one = this.#takeRound(step.body, turns, next);
        if (one.next > next) values[key] = one.values;
        next = one.next;
      }
    }
    return { values, next };
  }
}

function namesOf(body: readonly Step[]): string {
  return body.map(({ name }) => name).join(", ");
}
