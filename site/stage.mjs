// SPDX-License-Identifier: Apache-2.0
// Lays out what VitePress reads: the pages of the table under their names on the site, with links that lead where they led in
// the repository, and files that pages link to beside them.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { head } from "./home.mjs";
import { isLocal, mapLinks, resolveLink } from "./links.mjs";
import { pages } from "./pages.mjs";

export const site = import.meta.dirname;
export const root = path.join(site, "..");
export const build = path.join(site, ".build");
export const staged = path.join(build, "pages");

const pageOf = new Map(pages.map(({ source, page }) => [source, page]));

function write(file, text) {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** A file that is no page, under its path in the repository. */
function publish(file) {
  const target = path.join(staged, "public/files", file);
  if (!existsSync(target)) cpSync(path.join(root, file), target, { recursive: true });
  return `/files/${file}`;
}

/** Of a folder without a page: a page that lists its files. */
function listing(folder) {
  const files = readdirSync(path.join(root, folder), { withFileTypes: true }).filter(
    (item) => item.isFile() && !item.name.startsWith("."),
  );
  const lines = files.map(({ name }) => `- [${name}](${publish(`${folder}/${name}`)})`);
  write(path.join(staged, "files", folder, "index.md"), `# ${folder}\n\n${lines.sort().join("\n")}\n`);
  return `/files/${folder}/`;
}

/** Where a link of `source` leads on the site. Throws for what is not there. */
function targetOf(source, target) {
  if (!isLocal(target) || target.startsWith("#")) return target;
  const { file, anchor } = resolveLink(source, target);
  const hash = anchor === "" ? "" : `#${anchor}`;
  const page = pageOf.get(file) ?? pageOf.get(`${file}/README.md`);
  if (page !== undefined) return `/${page}${hash}`;
  if (!existsSync(path.join(root, file))) throw new Error(`${source} links to ${file}, which is not there`);
  return statSync(path.join(root, file)).isDirectory() ? listing(file) : publish(file);
}

/** What the places where a repository is read draw, and a site does not: the README has the same as a picture. */
const withoutDiagrams = (text) => text.replace(/^```mermaid\n[\s\S]*?\n```\n/gm, "");

const programMark = "<!-- the first program of the README -->";

export function stagePages() {
  for (const { source, page } of pages) {
    const text = readFileSync(path.join(root, source), "utf8");
    write(
      path.join(staged, `${page}.md`),
      mapLinks(withoutDiagrams(text), (target) => targetOf(source, target)),
    );
  }
  mkdirSync(path.join(staged, "public"), { recursive: true });
  cpSync(path.join(site, "icon.svg"), path.join(staged, "public/icon.svg"));
  publish("docs/mask.svg"); // the home page has it in its head
  const readme = readFileSync(path.join(root, "README.md"), "utf8");
  const [program = ""] = /^```ts\n[\s\S]*?\n```$/m.exec(readme) ?? [];
  const home = readFileSync(path.join(site, "home.md"), "utf8").replace(programMark, program);
  const text = mapLinks(home, (target) => targetOf("site/home.md", target));
  write(path.join(staged, "index.md"), `---\n${JSON.stringify(head)}\n---\n\n${text}`);
}
