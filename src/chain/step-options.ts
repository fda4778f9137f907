// SPDX-License-Identifier: Apache-2.0
// What every kind of step says of its options: which there are, and what a value must be. `kind` begins the sentence:
// "Input", "Stage", "Rounds".

import { OptionInvalidError } from "../errors.js";
import { didYouMean } from "../suggest.js";

/** Throws OPTION_INVALID for an option that a step of this kind does not have. */
export function checkOptionNames(
  kind: string,
  name: string,
  options: object,
  known: readonly string[],
): void {
  const unknown = Object.keys(options).find((option) => !known.includes(option));
  if (unknown === undefined) return;
  throw new OptionInvalidError(
    `${kind} "${name}" has an unknown option \`${unknown}\`. Known: ${known.join(", ")}.${didYouMean(unknown, known)}`,
    { facts: { step: name, option: unknown, available: [...known] } },
  );
}

export function invalidOption(
  kind: string,
  name: string,
  option: string,
  value: unknown,
  expected: string,
): OptionInvalidError {
  return new OptionInvalidError(
    `${kind} "${name}" has \`${option}\` ${String(value)}, which must be ${expected}.`,
    {
      facts: { step: name, option, value: String(value) },
    },
  );
}
