// SPDX-License-Identifier: Apache-2.0
// The built site, looked at as files: every link inside of it leads to a page, a file or a place in a page that is there, and so
// do those of the Markdown that programs read.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { isLocal, mapLinks } from "./links.mjs";

function filesOf(folder, endings) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile() && endings.some((ending) => item.name.endsWith(ending)))
    .map((item) => path.join(item.parentPath ?? item.path, item.name));
}

const unescaped = (text) => text.replaceAll("&amp;", "&").replaceAll("&#39;", "'").replaceAll("&quot;", '"');

/** The file that a web server gives for a path, or null. */
function fileFor(folder, place) {
  const candidates = [place, `${place}.html`, path.posix.join(place, "index.html")];
  const found = candidates
    .map((one) => path.join(folder, one))
    .find((file) => existsSync(file) && statSync(file).isFile());
  return found ?? null;
}

function checkMarkdown(folder) {
  const faults = [];
  let links = 0;
  for (const file of filesOf(folder, [".md", "llms.txt"])) {
    const page = path.relative(folder, file);
    mapLinks(readFileSync(file, "utf8"), (target) => {
      if (!isLocal(target) || target.startsWith("#")) return target;
      links += 1;
      const [place] = decodeURI(target).split("#");
      const from = place.startsWith("/") ? folder : path.dirname(file);
      if (!existsSync(path.join(from, place))) faults.push(`/${page} leads to ${place}, which is not there`);
      return target;
    });
  }
  return { links, faults };
}

/**
 * @param {string} folder the built site
 * @param {string} base where it stands, as "/" or "/name/"
 */
export function checkSite(folder, base) {
  const texts = new Map(filesOf(folder, [".html"]).map((file) => [file, readFileSync(file, "utf8")]));
  const ids = new Map();
  const idsOf = (file) => {
    if (!ids.has(file)) {
      const text = texts.get(file) ?? "";
      ids.set(file, new Set([...text.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => unescaped(id))));
    }
    return ids.get(file);
  };
  const faults = [];
  let links = 0;
  for (const [file, text] of texts) {
    const page = `${base}${path.relative(folder, file).split(path.sep).join("/")}`;
    for (const [, raw] of text.matchAll(/\s(?:href|src)="([^"]*)"/g)) {
      const url = new URL(unescaped(raw), `http://site${page}`);
      if (url.origin !== "http://site") continue;
      links += 1;
      const place = decodeURI(url.pathname);
      const target = place.startsWith(base) ? fileFor(folder, place.slice(base.length)) : null;
      const anchor = decodeURIComponent(url.hash.slice(1));
      if (target === null) faults.push(`${page} leads to ${place}, which is not there`);
      else if (anchor !== "" && target.endsWith(".html") && !idsOf(target).has(anchor)) {
        faults.push(`${page} leads to ${place}#${anchor}, a place that is not there`);
      }
    }
  }
  const markdown = checkMarkdown(folder);
  links += markdown.links;
  return { pages: texts.size, links, faults: [...new Set([...faults, ...markdown.faults])].sort() };
}
