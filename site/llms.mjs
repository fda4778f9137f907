// SPDX-License-Identifier: Apache-2.0
// The site for programs that read: every page as Markdown beside its HTML, llms.txt with what there is, and llms-full.txt
// with the text of all pages. Paths are relative to the site, so that they hold wherever it stands.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { apiPages, modules } from "./api.mjs";
import { groups, pages } from "./pages.mjs";
import { root, staged } from "./stage.mjs";

const textOf = (page) => readFileSync(path.join(staged, `${page}.md`), "utf8");

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
  for (const page of [...all, "api/index", ...modules.map((module) => `api/${module.folder}/index`)]) {
    const target = path.join(folder, `${page}.md`);
    mkdirSync(path.dirname(target), { recursive: true });
    copyFileSync(path.join(staged, `${page}.md`), target);
  }
  writeFileSync(path.join(folder, "llms.txt"), index());
  const full = all.map((page) => `<!-- ${page}.md -->\n\n${textOf(page).trim()}\n`);
  writeFileSync(path.join(folder, "llms-full.txt"), full.join("\n"));
}
