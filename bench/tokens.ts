// SPDX-License-Identifier: Apache-2.0
// The token ids that all subjects are fed. Speed does not depend on which tokens they are, only on how many; the same
// ones everywhere leave nothing to argue about.

const firstId = 256; // below lie control tokens and single bytes in the vocabularies of the tests
const idCount = 32000;

/** `count` ids, the same in every process; `seed` gives another sequence. */
export function tokenIds(count: number, seed = 1): number[] {
  let state = seed >>> 0;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' linear congruential generator
    return firstId + ((state >>> 8) % idCount);
  });
}
