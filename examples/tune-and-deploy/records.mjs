// SPDX-License-Identifier: Apache-2.0
// What the stage learns from: sentences about who did what in which year, the question for the year, and the year. People and
// works of the dev records are in none of the others, so that what is learned is the task.

const people = ["Ada", "Jon", "Mia", "Olaf", "Vera", "Per", "Lena", "Nils", "Ines", "Tor"];
const works = ["lighthouse", "harbour", "bridge", "mill", "museum", "school"];

/** @param {number} i @param {string} person @param {string} work */
function record(i, person, work) {
  const year = 1800 + ((i * 37) % 190);
  return {
    text: `${person} built the ${work} in ${year}, after ${2 + (i % 5)} years of work.`,
    question: `When did ${person} build the ${work}?`,
    answer: String(year),
  };
}

/** @param {readonly string[]} someone @param {readonly string[]} something */
const all = (someone, something) =>
  someone.flatMap((person, i) => something.map((work, j) => record(i * 7 + j * 3 + 1, person, work)));

export const train = all(people.slice(0, 8), works.slice(0, 4));
export const dev = all(people.slice(8), works.slice(4));
