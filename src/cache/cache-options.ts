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
}

const mostSaltLength = 1024;

/** Throws OPTION_INVALID. */
export function checkSalt(salt: unknown): string {
  if (salt === undefined) return "";
  if (typeof salt === "string" && salt !== "" && salt.length <= mostSaltLength) return salt;
  const value = typeof salt === "string" ? `a text of ${salt.length} characters` : `of type ${typeof salt}`;
  throw new OptionInvalidError(
    `\`salt\` is ${value}. Give a text of 1 to ${mostSaltLength} characters, or leave it out.`,
    { facts: { option: "salt", value: String(salt).slice(0, 64) } },
  );
}
