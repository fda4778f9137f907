// SPDX-License-Identifier: Apache-2.0
// "Did you mean": of the names that there are, the one that a wrong name was probably to be.

/** Edits (a letter more, less or other, or two neighbours exchanged) from one text to the other. */
function distance(from: string, to: string): number {
  let before: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1] ? 0 : 1;
      const exchanged = from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      const least = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + same);
      row.push(exchanged && i > 1 && j > 1 ? Math.min(least, (before[j - 2] ?? 0) + 1) : least);
    }
    before = last;
    last = row;
  }
  return last[to.length] ?? 0;
}

/** Longer ones are no typing errors, and the time grows with both lengths. */
const longest = 100;

/** The nearest of `known`, if at most a third of the name would have to change; upper and lower case are alike. */
export function nearest(name: string, known: readonly string[]): string | null {
  if (name === "" || name.length > longest) return null;
  let found: string | null = null;
  let least = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const one of known) {
    if (Math.abs(one.length - name.length) >= least || one.length > longest) continue;
    const edits = distance(name.toLowerCase(), one.toLowerCase());
    if (edits >= least || edits >= one.length) continue;
    [found, least] = [one, edits];
  }
  return found;
}

/** ` Did you mean "compress"?`, to stand behind a sentence that says what is not there; "": nothing comes near. */
export function didYouMean(name: unknown, known: readonly string[]): string {
  const found = typeof name === "string" ? nearest(name, known) : null;
  return found === null || found === name ? "" : ` Did you mean ${JSON.stringify(found)}?`;
}
