// SPDX-License-Identifier: Apache-2.0
// Options by names that there are not: a typing error must not pass for a default.

import { OptionInvalidError } from "../errors.js";
import { didYouMean } from "../suggest.js";

/** Whose options they are: begins every message, and is in its facts. */
export interface OptionOwner {
  readonly label: string;
  readonly facts: Readonly<Record<string, string>>;
}

/** Throws OPTION_INVALID for an option that is not among `known`. */
export function checkKnown({ label, facts }: OptionOwner, options: object, known: readonly string[]): void {
  const unknown = Object.keys(options).find((option) => !known.includes(option));
  if (unknown === undefined) return;
  throw new OptionInvalidError(
    `${label} has an unknown option \`${unknown}\`. Known: ${known.join(", ")}.${didYouMean(unknown, known)}`,
    { facts: { ...facts, option: unknown, available: [...known] } },
  );
}
