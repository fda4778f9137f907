// SPDX-License-Identifier: Apache-2.0
// Random JSON Schemas of all that grammars follow: every type with its bounds, combinations, references, recursion. Texts
// and lists have bounds nearly always, so that a model of random weights comes to an end.

export type Schema = { [keyword: string]: unknown } | boolean;

/** Deterministic: the same seed, the same schemas. */
export class Dice {
  #state: number;
  constructor(seed: number) {
    this.#state = (seed * 2654435761 + 12345) >>> 0;
  }

  /** 0 to below `sides`. */
  roll(sides: number): number {
    this.#state = (Math.imul(this.#state ^ (this.#state >>> 15), 2246822519) + 374761393) >>> 0;
    return ((this.#state ^ (this.#state >>> 13)) >>> 0) % sides;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.roll(list.length)] as T;
  }
  chance(percent: number): boolean {
    return this.roll(100) < percent;
  }
}

const values = [0, 7, -3, 1.5, "a", "", "é🙂", '"\\\n', true, null, [1, "b"], { k: [null] }, {}, []];
const patterns = ["^[a-c]{1,6}$", "^(ab|cd)+$", "^\\d{1,3}-\\d$", "x{2}", "^[^\\d\\s]{1,4}$", "^a?b?c?$"];
const formats = ["date", "time", "date-time", "uuid", "ipv4", "email"];
const names = ["a", "b", "name", "two words", "ö", 'q"uote', "back\\slash", "0"];

function bounds(dice: Dice, least: string, most: string, widest: number): Record<string, number> {
  const from = dice.roll(3);
  const to = from + dice.roll(widest);
  return { ...(dice.chance(50) && { [least]: from }), [most]: to };
}

function numbers(dice: Dice, type: "integer" | "number"): Schema {
  const schema: Record<string, unknown> = { type };
  const scale = dice.pick([1, 10, 1000]);
  const from = type === "integer" ? dice.roll(41) - 20 : (dice.roll(81) - 40) / 4;
  if (dice.chance(60)) schema[dice.pick(["minimum", "exclusiveMinimum"])] = from;
  if (dice.chance(60)) schema[dice.pick(["maximum", "exclusiveMaximum"])] = from + 2 + dice.roll(20) * scale;
  if (dice.chance(20)) schema.multipleOf = type === "integer" ? 1 + dice.roll(7) : dice.pick([0.5, 0.25, 2]);
  return schema;
}

function text(dice: Dice): Schema {
  const kind = dice.roll(10);
  if (kind < 2) return { type: "string", pattern: dice.pick(patterns) };
  if (kind < 4) return { type: "string", format: dice.pick(formats) };
  return { type: "string", ...bounds(dice, "minLength", "maxLength", 12) };
}

function list(dice: Dice, depth: number): Schema {
  const schema: Record<string, unknown> = { type: "array", ...bounds(dice, "minItems", "maxItems", 4) };
  if (dice.chance(40)) {
    schema.prefixItems = Array.from({ length: 1 + dice.roll(2) }, () => schemaOf(dice, depth - 1));
  }
  schema.items = dice.chance(10) ? false : schemaOf(dice, depth - 1);
  return schema;
}

function record(dice: Dice, depth: number): Schema {
  const own = names.filter(() => dice.chance(35));
  const properties = Object.fromEntries(own.map((name) => [name, schemaOf(dice, depth - 1)]));
  const required = own.filter(() => dice.chance(60));
  const schema: Record<string, unknown> = { type: "object", properties, required };
  if (dice.chance(85)) schema.additionalProperties = false;
  else schema.additionalProperties = schemaOf(dice, depth - 1);
  if (dice.chance(10)) {
    schema.patternProperties = { "^p_[a-z]{1,2}$": schemaOf(dice, depth - 1) };
  }
  return schema;
}

function combined(dice: Dice, depth: number): Schema {
  const some = () => Array.from({ length: 1 + dice.roll(3) }, () => schemaOf(dice, depth - 1));
  switch (dice.roll(4)) {
    case 0:
      return { anyOf: some() };
    case 1:
      return { oneOf: [{ type: "null" }, numbers(dice, "integer"), text(dice)].slice(0, 1 + dice.roll(3)) };
    case 2:
      return { allOf: [record(dice, depth - 1), { type: "object", properties: { a: { type: "boolean" } } }] };
    default:
      return { ...(text(dice) as object), type: ["string", "null"] };
  }
}

function schemaOf(dice: Dice, depth: number): Schema {
  const kind = dice.roll(depth <= 0 ? 7 : 12);
  switch (kind) {
    case 0:
      return { const: dice.pick(values) };
    case 1:
      return { enum: values.filter(() => dice.chance(40)).concat([dice.pick(values)]) };
    case 2:
      return numbers(dice, "integer");
    case 3:
      return numbers(dice, "number");
    case 4:
      return text(dice);
    case 5:
      return { type: dice.pick(["boolean", "null"]), title: "annotated", description: "and described" };
    case 6:
      return { $ref: dice.pick(["#/$defs/shared", "#/$defs/tree"]) };
    case 7:
      return combined(dice, depth);
    case 8:
      return list(dice, depth);
    default:
      return record(dice, depth);
  }
}

const tree: Schema = {
  type: "object",
  properties: { left: { anyOf: [{ $ref: "#/$defs/tree" }, { type: "null" }] }, value: { type: "integer" } },
  required: ["left"],
  additionalProperties: false,
};

export function randomSchema(seed: number): Schema {
  const dice = new Dice(seed);
  const shared = dice.pick<Schema>([numbers(dice, "number"), text(dice), { type: "boolean" }]);
  return { ...(schemaOf(dice, 3) as object), $defs: { shared, tree } };
}
