// SPDX-License-Identifier: Apache-2.0
// The site for programs that read: every page as Markdown beside its HTML, llms.txt with what there is, and llms-full.txt
// with the text of all pages. Paths are relative to the site, so that they hold wherever it stands.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { apiPages, modules } from "./api.mjs";
import { mapLinks } from "./links.mjs";
import { groups, pages } from "./pages.mjs";
import { root, staged } from "./stage.mjs";

/** Paths of the site's pages lead to Markdown, and what tests are told in comments is left out. */
function textOf(page) {
  const text = readFileSync(path.join(staged, `${page}.md`), "utf8").replace(/^<!--[\s\S]*?-->\n+/gm, "");
  return mapLinks(text, (target) => {
    const [place, anchor] = target.split("#");
    if (!place.startsWith("/") || path.extname(place) !== "") return target;
    const file = place.endsWith("/") ? `${place}index` : place;
    const relative = path.posix.relative(path.posix.dirname(`/${page}`), file);
    return `${relative}.md${anchor === undefined ? "" : `#${anchor}`}`;
  });
}

/** Pages that list folders. */
function listings() {
  const folder = path.join(staged, "files");
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder, { recursive: true }).filter((file) => file.endsWith(".md"));
  return files.map((file) => `files/${file.slice(0, -3)}`);
}

function index() {
  const { name, description } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const parts = groups.map(({ text, pages }) => [
    `## ${text}\n`,
    ...pages.map(({ page, text, about }) => `- [${text}](./${page}.md): ${about}`),
  ]);
  const api = ["## API\n", ...modules.map(({ text, folder }) => `- [${text}](./api/${folder}/index.md)`)];
  const head = `# ${name}\n\n> ${description}. All of this in one file: [llms-full.txt](./llms-full.txt).`;
  return `${[head, ...[...parts, api].map((lines) => lines.join("\n"))].join("\n\n").replace(/\n\n\n/g, "\n\n")}\n`;
}

/** @param {string} folder the built site */
export function writeLlms(folder) {
  const all = [...pages.map(({ page }) => page), ...apiPages()];
  for (const page of [
    ...all,
    ...listings(),
    "api/index",
    ...modules.map((module) => `api/${module.folder}/index`),
  ]) {
    const target = path.join(folder, `${page}.md`);
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, textOf(page));
  }
  writeFileSync(path.join(folder, "llms.txt"), index());
  const full = all.map((page) => `<!-- ${page}.md -->\n\n${textOf(page).trim()}\n`);
  writeFileSync(path.join(folder, "llms-full.txt"), full.join("\n"));
}
