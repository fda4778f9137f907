// SPDX-License-Identifier: Apache-2.0
// Names that requests give. They are looked up in tables and never become part of a path; what looks as if it wanted to
// is refused all the same, before anything is looked up.

import { didYouMean } from "../suggest.js";
import { ServeError } from "./errors.js";

/** Of chains and sessions, as a regular expression for schemas too. */
export const namePattern = "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$";
/** Of prompts: folders in folders. */
export const promptPattern = "^[A-Za-z0-9][A-Za-z0-9_@-]*([./][A-Za-z0-9_@-]+){0,15}$";

/** Throws ServeError 400. `what`: "chain", "session". */
export function checkName(what: string, name: string, param: string, pattern = namePattern): string {
  if (name.length <= 256 && new RegExp(pattern).test(name)) return name;
  const shown = JSON.stringify(name.slice(0, 64));
  throw new ServeError(
    400,
    "invalid_name",
    `${shown} is no name of a ${what}: they begin with a letter or a digit and have letters, digits and . _ : @ - in them. ` +
      "Give the name alone, not a path.",
    { param },
  );
}

const mostShown = 20;

/** Throws ServeError 404 for what is not in the table. */
export function lookUp<T>(table: ReadonlyMap<string, T>, what: string, name: string, param: string): T {
  const found = table.get(name);
  if (found !== undefined) return found;
  const known = [...table.keys()].slice(0, mostShown);
  throw new ServeError(
    404,
    `${what}_not_found`,
    `There is no ${what} ${JSON.stringify(name.slice(0, 64))} here. This server has: ${known.join(", ") || "none"}` +
      `${table.size > mostShown ? ", ..." : ""}.${didYouMean(name, [...table.keys()])}`,
    { param },
  );
}
