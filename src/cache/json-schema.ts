// SPDX-License-Identifier: Apache-2.0
// JSON Schemas narrowed to what a program can use, before a grammar is made of them: every text that is left is one of the
// schema's. Places that hold values (const, enum, default) are not looked into, nor is `allOf`, whose parts could exclude
// each other once narrowed.

type Node = Readonly<Record<string, unknown>>;

const namedSchemas = ["properties", "patternProperties", "$defs", "definitions"];
const schemas = ["items", "prefixItems", "additionalItems", "additionalProperties", "anyOf", "oneOf"];
const combining = ["allOf", "$ref", "anyOf", "oneOf", "const", "enum"];

/** `narrow` for every schema that stands in `node`, and then for itself. */
function narrowed(node: unknown, narrow: (one: Node) => Node): unknown {
  if (Array.isArray(node)) return node.map((one) => narrowed(one, narrow));
  if (typeof node !== "object" || node === null) return node;
  const under = (key: string, value: unknown): unknown => {
    if (schemas.includes(key)) return narrowed(value, narrow);
    if (!namedSchemas.includes(key) || typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, narrowed(one, narrow)]));
  };
  return narrow(Object.fromEntries(Object.entries(node).map(([key, value]) => [key, under(key, value)])));
}

/** Keywords that say what else an object may have. */
const openings = ["additionalProperties", "patternProperties", "unevaluatedProperties", "propertyNames"];

/**
 * Objects have no other properties than those that they name, unless they say so: a validation library drops the others, so
 * the model need not write them. A schema with `allOf` is left as it is.
 */
export function closeObjects(schema: unknown): unknown {
  if (JSON.stringify(schema).includes('"allOf"')) return schema;
  return narrowed(schema, (one) => {
    const open = !("properties" in one) || [...openings, ...combining].some((key) => key in one);
    return open ? one : { ...one, additionalProperties: false };
  });
}

const isNumeric = (type: unknown): boolean =>
  type === "number" || type === "integer" || (Array.isArray(type) && type.some(isNumeric));

const most = Number.MAX_SAFE_INTEGER;

/**
 * Numbers without a bound end where JavaScript stops telling whole ones apart. Without this a model may write digits for
 * ever, and `1e999` is JSON and no number.
 */
export function boundNumbers(schema: unknown): unknown {
  return narrowed(schema, (one) => {
    if (!isNumeric(one.type) || combining.some((key) => key in one)) return one;
    const numbers = (keys: string[]) =>
      keys.map((key) => one[key]).filter((value) => typeof value === "number");
    const from = Math.max(...numbers(["minimum", "exclusiveMinimum"]));
    const to = Math.min(...numbers(["maximum", "exclusiveMaximum"]));
    return {
      ...one,
      ...(from === Number.NEGATIVE_INFINITY && to >= -most && { minimum: -most }),
      ...(to === Number.POSITIVE_INFINITY && from <= most && { maximum: most }),
    };
  });
}
