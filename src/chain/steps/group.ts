// SPDX-License-Identifier: Apache-2.0
// What groups have in common: checks of the steps inside.

import { ChainInvalidError } from "../../errors.js";
import type { Step } from "./step.js";

/** Throws CHAIN_INVALID for a group without steps. */
export function checkBody(kind: string, name: string, body: readonly Step[]): void {
  if (body.length > 0) return;
  throw new ChainInvalidError(`${kind} "${name}" has no steps inside. Give it a stage at least.`, {
    facts: { step: name },
  });
}

/** Throws CHAIN_INVALID for an input inside that has no value. */
export function checkNothingGiven(kind: string, name: string, body: readonly Step[]): void {
  const given = body.find((step) => step.given);
  if (given === undefined) return;
  throw new ChainInvalidError(
    `Input "${given.name}" inside of ${kind} "${name}" has no value. ` +
      "Give it a `from` function, or declare it before the group.",
    { facts: { step: name, name: given.name } },
  );
}
