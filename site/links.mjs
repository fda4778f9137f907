// SPDX-License-Identifier: Apache-2.0
// Links of pages: what they lead to in the repository, and the same as paths of the site.
import path from "node:path";

const fence = /^\s*```/;
const link = /(!?)\[((?:[^[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)/g;

/** Text of a page with `change(target, { image, line })` in place of the target of every link outside of code. */
export function mapLinks(text, change) {
  let inCode = false;
  return text
    .split("\n")
    .map((line, index) => {
      if (fence.test(line)) inCode = !inCode;
      if (inCode || fence.test(line)) return line;
      const code = [];
      const bare = line.replace(/`[^`]*`/g, (span) => `\u0000${code.push(span) - 1}\u0000`);
      const changed = replaceLinks(bare, (target, image) => change(target, { image, line: index + 1 }));
      // biome-ignore lint/suspicious/noControlCharactersInRegex: no page has them, so they can stand for spans of code
      return changed.replace(/\u0000(\d+)\u0000/g, (_, place) => code[place]);
    })
    .join("\n");
}

/** A link may stand in the text of another one, as a picture does that leads somewhere. */
function replaceLinks(text, change) {
  return text.replace(link, (_, mark, inner, target) => {
    return `${mark}[${replaceLinks(inner, change)}](${change(target, mark === "!")})`;
  });
}

/** Leads to a place of this repository. */
export const isLocal = (target) => !/^[a-z][a-z0-9+.-]*:|^\/\//i.test(target);

/** Of a link in `source`: the file of the repository that it leads to, and the place in it. */
export function resolveLink(source, target) {
  const [file, anchor = ""] = target.split("#");
  const resolved = file === "" ? source : path.posix.join(path.posix.dirname(source), decodeURI(file));
  return { file: resolved.replace(/\/$/, ""), anchor };
}

/** Names of the headings of a page, as the places where it is read make them. */
export function anchorsOf(text) {
  const seen = new Map();
  let inCode = false;
  return text.split("\n").flatMap((line) => {
    if (fence.test(line)) inCode = !inCode;
    const [, heading] = /^#{1,6}\s+(.*?)\s*$/.exec(line) ?? [];
    if (inCode || heading === undefined) return [];
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const name = plain.replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-");
    const count = seen.get(name) ?? 0;
    seen.set(name, count + 1);
    return [count === 0 ? name : `${name}-${count}`];
  });
}
