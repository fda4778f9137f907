// SPDX-License-Identifier: Apache-2.0
// Exact match and F1 as SQuAD's evaluation defines them (Rajpurkar et al., 2016, section 6.1), with the normalisation of
// its script: lower case, no punctuation, no articles, single spaces, in this order. Python's notions of a word and of
// white space are kept: words have letters and digits of any script.

/** ASCII punctuation, which is what the script takes away. */
const punctuation = /[!-/:-@[-`{-~]/g;
const article = /(?<![\p{L}\p{N}_])(?:an?|the)(?![\p{L}\p{N}_])/gu;
// U+FEFF is white space for JavaScript and not for Python, the separators 1C to 1F and 85 the other way round.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what Python splits at
const space = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;

function wordsOf(text: string): string[] {
  const plain = text.toLowerCase().replace(punctuation, "").replace(article, " ");
  return plain.split(space).filter((word) => word !== "");
}

/** The answer as it is compared. */
export function normalizeAnswer(text: string): string {
  return wordsOf(text).join(" ");
}

/** 1 if the two are the same once normalised, else 0. */
export function exactMatch(prediction: string, gold: string): number {
  return normalizeAnswer(prediction) === normalizeAnswer(gold) ? 1 : 0;
}

/** Harmonic mean of precision and recall over words, 0 to 1; without words in one of them: whether both have none. */
export function f1Score(prediction: string, gold: string): number {
  const predicted = wordsOf(prediction);
  const expected = wordsOf(gold);
  if (predicted.length === 0 || expected.length === 0) return predicted.length === expected.length ? 1 : 0;
  const left = new Map<string, number>();
  for (const word of expected) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of predicted) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    left.set(word, count - 1);
    common += 1;
  }
  if (common === 0) return 0;
  const precision = common / predicted.length;
  const recall = common / expected.length;
  return (2 * precision * recall) / (precision + recall);
}
