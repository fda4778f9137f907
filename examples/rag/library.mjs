// SPDX-License-Identifier: Apache-2.0
// What two examples search: a few passages, and the simplest of all searches.

const passages = [
  "Ferry Rock is a cliff of red granite north of the harbour of Marsk.",
  "The lighthouse on Ferry Rock was moved forty metres inland on rails in 1987.",
  "The engineer Ada Lindqvist built the lighthouse on Ferry Rock in 1871.",
  "The harbour of Marsk freezes for eleven weeks a year, and then supplies come by road.",
  "The town museum keeps the diary of Jon Varga, the last keeper of the lighthouse.",
  "The bakery at the market square opens at five in the morning.",
];

const words = (/** @type {string} */ text) => new Set(text.toLowerCase().match(/[a-z]{4,}/g));

/**
 * Passages by the number of words that they share with the query, best first.
 * @param {string} query
 */
export function ranked(query) {
  const wanted = words(query);
  const score = (/** @type {string} */ passage) =>
    [...words(passage)].filter((word) => wanted.has(word)).length;
  return [...passages].sort((a, b) => score(b) - score(a));
}

/** The best passage. @param {string} query */
export const best = (query) => /** @type {string} */ (ranked(query)[0]);

/**
 * The best passage that no earlier round of `search` has found.
 * @param {{
 *   question: { text: string },
 *   search: { rounds: readonly { passage?: { text: string } }[] },
 * }} results
 */
export function nextPassage({ question, search }) {
  const seen = new Set(search.rounds.map((earlier) => earlier.passage?.text));
  const next = ranked(question.text).find((one) => !seen.has(one));
  if (next === undefined) throw new Error("Every passage was found in an earlier round.");
  return next;
}
