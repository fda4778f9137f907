// SPDX-License-Identifier: Apache-2.0
// What an output may be, as options say it: a JSON Schema, a schema of a validation library (Standard Schema with a JSON
// Schema converter, as zod 4 has it), or a regular expression. Checked here without a model; grammar.ts makes a grammar of it.

import { ConstraintInvalidError } from "../errors.js";
import type { OptionOwner } from "../model/known-options.js";
import { checkKnown } from "../model/known-options.js";
import { boundNumbers, closeObjects } from "./json-schema.js";
import { invalidOf } from "./output-options.js";

/** What is wrong with a value, and where in it. */
export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

type Validated = { readonly value: unknown } | { readonly issues: readonly SchemaIssue[] };

/** The part of the Standard Schema interface (standardschema.dev) that is used here. */
export interface StandardSchema {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (
      value: unknown,
    ) =>
      | { readonly value: unknown; readonly issues?: undefined }
      | { readonly issues: readonly SchemaIssue[] }
      | Promise<Validated>;
    readonly types?: { readonly input: unknown; readonly output: unknown } | undefined;
  };
}

/** One that says itself as a JSON Schema. */
export interface StandardJsonSchema extends StandardSchema {
  readonly "~standard": StandardSchema["~standard"] & {
    readonly jsonSchema: {
      readonly input: (options: { readonly target: "draft-2020-12" }) => Record<string, unknown>;
    };
  };
}

/**
 * What an output must be. Numbers without bounds end at 2^53 - 1, either way; the `format` of a date lets 29 February be in
 * every year. A Standard Schema is followed while the text is written and asked again when it is there; its
 * output is the result's `object`. `jsonSchema` is followed as it is; with `schema`, that one validates in the end and
 * gives the `object`. `regex` fits the whole text, as if it stood between `^` and `$`; the `object` is the text.
 */
export type OutputSchema =
  | StandardJsonSchema
  | { readonly jsonSchema: object | boolean; readonly schema?: StandardSchema }
  | { readonly regex: string | RegExp };

type Validates<S> = S extends StandardSchema ? NonNullable<S["~standard"]["types"]>["output"] : unknown;

/** The type of `object` for an output option. */
export type OutputOf<S> = S extends StandardSchema
  ? Validates<S>
  : S extends { readonly regex: unknown }
    ? string
    : S extends { readonly schema: infer T }
      ? Validates<T>
      : unknown;

/** What a result has besides; nothing without an output option. */
export type ObjectOf<S> = undefined extends S ? unknown : { readonly object: OutputOf<S> };

/** The same, checked. Plain data but for `validate`, which may be absent. */
export interface OutputForm {
  readonly kind: "jsonSchema" | "regex";
  /** The schema as JSON, or the expression. */
  readonly text: string;
  readonly validate: StandardSchema["~standard"]["validate"] | null;
}

const expected =
  "a zod 4 schema (or another Standard Schema with a JSON Schema converter), { jsonSchema } or { regex }";

function isStandard(value: unknown): value is StandardSchema {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  const standard = (value as Partial<StandardSchema>)["~standard"];
  return typeof standard === "object" && standard !== null && typeof standard.validate === "function";
}

/** `path` names the place in the options, e.g. `output.jsonSchema`. */
export function constraintInvalid(
  { label, facts }: OptionOwner,
  path: string,
  problem: string,
  remedy: string,
): ConstraintInvalidError {
  const said = `${label} has an \`${path}\` that no output can follow: ${problem.replace(/\.$/, "")}. ${remedy}`;
  return new ConstraintInvalidError(said, { facts: { ...facts, option: path, problem } });
}

/** Throws CONSTRAINT_INVALID for what JSON cannot say. */
function jsonText(owner: OptionOwner, path: string, schema: unknown): string {
  try {
    return JSON.stringify(boundNumbers(JSON.parse(JSON.stringify(schema))));
  } catch (error) {
    throw constraintInvalid(owner, path, `it is no JSON (${(error as Error).message})`, "Give plain data.");
  }
}

function ofStandard(owner: OptionOwner, schema: StandardSchema): OutputForm {
  const { vendor, validate, jsonSchema } = schema["~standard"] as StandardJsonSchema["~standard"];
  const ownWay = "give { jsonSchema, schema } with its JSON Schema made by its own means";
  if (typeof jsonSchema?.input !== "function") {
    const problem = `its library (${vendor}) has no JSON Schema converter in the schema`;
    throw constraintInvalid(
      owner,
      "output",
      problem,
      `Update the library, for zod to 4.2 or newer, or ${ownWay}.`,
    );
  }
  let said: unknown;
  try {
    said = jsonSchema.input({ target: "draft-2020-12" });
  } catch (error) {
    const problem = `its library (${vendor}) cannot say it as JSON Schema: ${(error as Error).message}`;
    throw constraintInvalid(owner, "output", problem, `Take out what it names, or ${ownWay}.`);
  }
  return { kind: "jsonSchema", text: jsonText(owner, "output", closeObjects(said)), validate };
}

/** `^` and `$` around the whole say what is the case anyway, and grammars know none. */
function withoutAnchors(source: string): string {
  if (hasChoice(source)) return source;
  const begin = source.startsWith("^") ? 1 : 0;
  const ends = source.endsWith("$") && (/\\*$/.exec(source.slice(0, -1))?.[0].length ?? 0) % 2 === 0;
  return source.slice(begin, ends ? -1 : undefined);
}

/** Whether the expression has a `|` outside of groups and classes: `^a|b$` says two things. */
function hasChoice(source: string): boolean {
  let depth = 0;
  let inClass = false;
  for (let at = 0; at < source.length; at++) {
    const one = source[at];
    if (one === "\\") at++;
    else if (inClass) inClass = one !== "]";
    else if (one === "[") inClass = true;
    else if (one === "(") depth++;
    else if (one === ")") depth--;
    else if (one === "|" && depth === 0) return true;
  }
  return false;
}

function ofRegex(owner: OptionOwner, regex: unknown): OutputForm {
  if (regex instanceof RegExp) {
    const flags = regex.flags.replace(/[gyuvd]/g, ""); // these say nothing about what matches
    if (flags !== "") {
      const inline = `(?${flags.replace(/[^ims]/g, "")}:...)`;
      const problem = `the flags "${flags}" are not part of the expression`;
      throw constraintInvalid(owner, "output.regex", problem, `Write them into it, as a text: ${inline}.`);
    }
    return ofRegex(owner, regex.source);
  }
  if (typeof regex !== "string" || regex === "") {
    throw invalidOf(
      owner,
      "output.regex",
      regex,
      "a regular expression, or its source as a text that is not empty",
    );
  }
  return { kind: "regex", text: withoutAnchors(regex), validate: null };
}

/** Throws OPTION_INVALID and CONSTRAINT_INVALID, naming the owner and the place; null: the output may be anything. */
export function checkOutputSchema(owner: OptionOwner, output: unknown): OutputForm | null {
  if (output === undefined) return null;
  if (isStandard(output)) return ofStandard(owner, output);
  if (typeof output !== "object" || output === null) throw invalidOf(owner, "output", output, expected);
  const place = { ...owner, label: `\`output\` of ${owner.label}` };
  if ("regex" in output) {
    checkKnown(place, output, ["regex"]);
    return ofRegex(owner, output.regex);
  }
  checkKnown(place, output, ["jsonSchema", "schema", "regex"]);
  const { jsonSchema, schema } = output as { jsonSchema?: unknown; schema?: unknown };
  if ((typeof jsonSchema !== "object" && typeof jsonSchema !== "boolean") || jsonSchema === null) {
    throw invalidOf(owner, "output.jsonSchema", jsonSchema, "a JSON Schema: an object, or true");
  }
  if (schema !== undefined && !isStandard(schema)) {
    throw invalidOf(owner, "output.schema", schema, "a Standard Schema, which validates the result");
  }
  return {
    kind: "jsonSchema",
    text: jsonText(owner, "output.jsonSchema", jsonSchema),
    validate: schema === undefined ? null : schema["~standard"].validate,
  };
}
