// SPDX-License-Identifier: Apache-2.0
// What a snapshot says that a run had learned, checked value by value: it comes from a file that nobody vouches for.

import { isObject } from "../cache/snapshot/header.js";
import type { Entry } from "./run-record.js";

const reasons: readonly unknown[] = ["closed", "stop", "length"];

/** Also of the log-probabilities, as far as code goes by them. */
export function checkEntries(value: unknown, vocab: number): value is Entry[] {
  const isToken = (one: unknown) => Number.isInteger(one) && (one as number) >= 0 && (one as number) < vocab;
  const isTokens = (one: unknown): one is number[] => Array.isArray(one) && one.every(isToken);
  const isFigure = (one: unknown) =>
    isObject(one) && typeof one.logprob === "number" && Array.isArray(one.top);
  const fits = (figures: unknown, tokens: number[]) =>
    figures === undefined ||
    (Array.isArray(figures) && figures.length === tokens.length && figures.every(isFigure));
  const isUsage = (one: unknown) =>
    isObject(one) && Object.values(one).every((number) => typeof number === "number");
  const isResult = (one: unknown) =>
    isObject(one) &&
    typeof one.text === "string" &&
    isTokens(one.tokens) &&
    fits(one.logprobs, one.tokens) &&
    reasons.includes(one.reason) &&
    isUsage(one.usage);
  const isEntry = (entry: unknown): boolean => {
    if (!Array.isArray(entry) || typeof entry[1] !== "string") return false;
    const [kind, , what] = entry;
    if (kind === "answer") return entry.length === 3;
    if (kind === "begin") return entry.length === 2;
    if (!isObject(what) || !isTokens(what.opener)) return false;
    if (kind === "end") return isResult(what.result);
    return kind === "part" && isTokens(what.tokens) && fits(what.logprobs, what.tokens);
  };
  return Array.isArray(value) && value.every(isEntry);
}
