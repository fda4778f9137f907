// SPDX-License-Identifier: Apache-2.0
// A page of docs/ and the folder of its pictures, in which nothing of an earlier page is left.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { root } from "../runner/paths.js";

export interface PageFiles {
  markdown: string;
  /** By file name. */
  pictures: ReadonlyMap<string, string>;
}

/** Writes both and gives the page's path. */
export function writeFiles(
  { markdown, pictures }: PageFiles,
  { page, folder }: { page: string; folder: string },
): string {
  const docs = path.join(root, "docs");
  const place = path.join(docs, folder);
  mkdirSync(place, { recursive: true });
  for (const name of readdirSync(place)) {
    if (name.endsWith(".svg") && !pictures.has(name)) rmSync(path.join(place, name));
  }
  for (const [name, svg] of pictures) writeFileSync(path.join(place, name), svg);
  const file = path.join(docs, page);
  writeFileSync(file, markdown);
  return file;
}
