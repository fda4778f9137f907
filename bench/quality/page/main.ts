// SPDX-License-Identifier: Apache-2.0
// `node bench/quality-page.mjs FILE`: writes docs/quality.md and docs/quality/*.svg from a file of the suite.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { packageUrl, root } from "../../runner/paths.js";
import { cases } from "../cases/index.js";
import { parseReport } from "../report-file.js";
import { makePage } from "./page.js";

const folder = "quality";

export async function writePage(file: string): Promise<string> {
  const { drawCurves } = (await import(packageUrl)) as typeof import("../../../src/index.js");
  const report = parseReport(readFileSync(file, "utf8"), file);
  const source = path.relative(root, path.resolve(file)).split(path.sep).join("/");
  const { markdown, pictures } = makePage({ report, cases, source, folder, drawCurves });
  const docs = path.join(root, "docs");
  const place = path.join(docs, folder);
  mkdirSync(place, { recursive: true });
  for (const name of readdirSync(place)) {
    if (name.endsWith(".svg") && !pictures.has(name)) rmSync(path.join(place, name));
  }
  for (const [name, svg] of pictures) writeFileSync(path.join(place, name), svg);
  const page = path.join(docs, "quality.md");
  writeFileSync(page, markdown);
  return page;
}
