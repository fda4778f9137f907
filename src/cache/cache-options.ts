// SPDX-License-Identifier: Apache-2.0
// What may be said of KV wherever some comes to be: a run of a chain, a handle.

import { OptionInvalidError } from "../errors.js";

export interface CacheOptions {
  /**
   * Whose content it is, say a tenant's name: rows are found by their content under the same salt only, so that nobody
   * can tell from a hit, or from the time it saves, what another one has computed. Prompts of stages are the program's
   * own, without a salt. Default: none.
   */
  salt?: string;
  /** What becomes of the KV when nobody holds it any more. Default: `usual`. */
  retain?: Retention;
}

/**
 * `usual`: kept for as long as there is room, in the order of the model's `cachePolicy`; `none`: freed at once, because
 * nobody is going to need it again (a branch that is finished); `{ ms }`: it will be resumed, and for so many
 * milliseconds everything else goes first. Of rows that several held the last one to let go decides.
 */
export type Retention = "usual" | "none" | { ms: number };

const mostSaltLength = 1024;

/** A text of 1 to `most` characters; `otherwise` ends the remedy. Throws OPTION_INVALID. */
export function checkText(value: unknown, option: string, most: number, otherwise = ""): string {
  if (typeof value === "string" && value !== "" && value.length <= most) return value;
  const given =
    typeof value === "string" ? `a text of ${value.length} characters` : `of type ${typeof value}`;
  throw new OptionInvalidError(
    `\`${option}\` is ${given}. Give a text of 1 to ${most} characters${otherwise}.`,
    { facts: { option, value: String(value).slice(0, 64) } },
  );
}

/** Throws OPTION_INVALID. */
export function checkSalt(salt: unknown): string {
  return salt === undefined ? "" : checkText(salt, "salt", mostSaltLength, ", or leave it out");
}

/** Throws OPTION_INVALID. */
export function checkRetention(retain: unknown): Retention {
  if (retain === undefined || retain === "usual") return "usual";
  if (retain === "none") return retain;
  if (typeof retain === "object" && retain !== null && "ms" in retain) {
    const { ms } = retain;
    if (typeof ms === "number" && ms > 0 && ms <= Number.MAX_SAFE_INTEGER) return { ms };
  }
  const value = JSON.stringify(retain) ?? String(retain);
  throw new OptionInvalidError(
    `\`retain\` is ${value}. Give "usual", "none", or { ms } with a number of milliseconds above 0.`,
    { facts: { option: "retain", value } },
  );
}
