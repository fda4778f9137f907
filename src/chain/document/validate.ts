// SPDX-License-Identifier: Apache-2.0
// A value against a schema, by Ajv; the first thing that is wrong becomes CHAIN_INVALID with its place, its value and
// what would be right.

import type * as AjvLibrary from "ajv";
import type { Ajv, ErrorObject, ValidateFunction } from "ajv";
import { ChainInvalidError } from "../../errors.js";
import { requireHere } from "../../native/here.js";
import { didYouMean } from "../../suggest.js";
import type { JsonSchema } from "./contract.js";

let ajv: Ajv | undefined;

/** Ajv is many files to load: the first document loads it, by `require` since documents are read without waiting. */
function validator(): Ajv {
  if (ajv === undefined) {
    const library = requireHere("ajv") as typeof AjvLibrary;
    ajv = new library.Ajv({ strict: true, strictRequired: false, verbose: true });
  }
  return ajv;
}

const compiled = new Map<JsonSchema, ValidateFunction>();

/** "/steps/2/own/0" below "chain" -> "chain.steps[2].own[0]". */
function placeOf(where: string, pointer: string): string {
  const parts = pointer.split("/").slice(1);
  const place = parts.map((one) => (/^\d+$/.test(one) ? `[${one}]` : `.${one}`)).join("");
  return `${where}${place}`.replace(/^\./, "");
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function expected({ keyword, params, message, parentSchema }: ErrorObject): string {
  if (keyword === "enum") return `must be ${(params.allowedValues as unknown[]).map(shown).join(" or ")}`;
  if (keyword === "pattern")
    return `must be a name: ${(parentSchema as { description?: string }).description}`;
  return message ?? "does not fit";
}

/** The error that lies deepest says most; beside it, of alternatives, one that the value's type has passed. */
function mostTelling(errors: readonly ErrorObject[]): ErrorObject {
  const depth = (one: ErrorObject) => one.instancePath.split("/").length;
  const weight = ({ keyword }: ErrorObject) =>
    ["anyOf", "type", "required", "additionalProperties"].indexOf(keyword);
  const order = (a: ErrorObject, b: ErrorObject) => depth(b) - depth(a) || weight(b) - weight(a);
  return [...errors].sort(order)[0] as ErrorObject;
}

/** Throws CHAIN_INVALID naming place, value and remedy. */
export function validate(schema: JsonSchema, value: unknown, where: string): void {
  let check = compiled.get(schema);
  if (check === undefined) {
    check = validator().compile(schema);
    compiled.set(schema, check);
  }
  if (check(value)) return;
  const error = mostTelling(check.errors ?? []);
  const place = placeOf(where, error.instancePath) || "The document";
  if (error.keyword === "additionalProperties") {
    const field = error.params.additionalProperty as string;
    const known = Object.keys((error.parentSchema as { properties: object }).properties);
    throw new ChainInvalidError(
      `${place} has an unknown field "${field}". Known: ${known.join(", ")}.${didYouMean(field, known)}`,
      {
        facts: { path: place, value: field, available: known },
      },
    );
  }
  throw new ChainInvalidError(`${place} is ${shown(error.data)}, which ${expected(error)}.`, {
    facts: { path: place, value: shown(error.data) },
  });
}
