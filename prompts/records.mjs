// SPDX-License-Identifier: Apache-2.0
// Makes training records for two of the chains here from records of questions, passages and answers (HotpotQA as
// README.md has it): node prompts/records.mjs rewrite-retrieve-answer|critique-retrieve FILE > RECORDS
//
// Kept is a record whose answer stands in one of its passages: that passage is what a search would have found. Nobody has
// written search words for these questions; taken are the question's own words that its passages have, too. In rounds the
// passage of another question comes second: what was right before it stays right.
import { readFileSync } from "node:fs";

const sets = { "rewrite-retrieve-answer": () => records, "critique-retrieve": () => records.map(inRounds) };

const [set, file] = process.argv.slice(2);
if (!Object.hasOwn(sets, set) || file === undefined) {
  console.error(`usage: node prompts/records.mjs ${Object.keys(sets).join("|")} FILE`);
  process.exit(2);
}

const asks = new Set(
  "what which when where whose whom does have been that this with from were name".split(" "),
);
const wordsOf = (text) => text.match(/[\p{L}\p{N}][\p{L}\p{N}'.-]*[\p{L}\p{N}]/gu) ?? [];
const spaced = (text) => ` ${wordsOf(text.toLowerCase()).join(" ")} `;

/** Words of the question that say what to look for: names, numbers and longer words that the passages have. */
function searchWords(question, passages) {
  const found = new Set(wordsOf(passages.toLowerCase()));
  const says = (word) => word.length > 3 || /^[\p{Lu}\p{N}]/u.test(word);
  const words = wordsOf(question).filter((word) => says(word) && !asks.has(word.toLowerCase()));
  return [...new Set(words.filter((word) => found.has(word.toLowerCase())))].join(" ");
}

function recordOf({ question, passages, answer }) {
  const passage = passages.split("\n").find((one) => spaced(one).includes(spaced(answer)));
  return { question, rewrite: searchWords(question, passages), passage, answer };
}

const isUsable = ({ passage, rewrite, answer }) => passage && rewrite && !/^(yes|no)$/i.test(answer);

function inRounds({ question, passage, answer }, at) {
  const other = records[(at + 1) % records.length].passage;
  return {
    question,
    search: [
      { passage, answer },
      { passage: other, answer },
    ],
  };
}

const lines = readFileSync(file, "utf8").trim().split("\n");
const records = lines.map((line) => recordOf(JSON.parse(line))).filter(isUsable);
for (const record of sets[set]()) console.log(JSON.stringify(record));
