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

const words = (text) => new Set(text.toLowerCase().match(/[a-z]{4,}/g));

/** Passages by the number of words that they share with the query, best first. */
export function ranked(query) {
  const wanted = words(query);
  const score = (passage) => [...words(passage)].filter((word) => wanted.has(word)).length;
  return [...passages].sort((a, b) => score(b) - score(a));
}

/** The best passage that no earlier round of `search` has found; undefined: there is none left. */
export function nextPassage({ question, search }) {
  const seen = new Set(search.rounds.map((earlier) => earlier.passage.text));
  return ranked(question.text).find((one) => !seen.has(one));
}
