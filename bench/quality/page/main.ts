// SPDX-License-Identifier: Apache-2.0
// `node bench/quality-page.mjs FILE`: writes docs/quality.md and docs/quality/*.svg from a file of the suite.
import { readFileSync } from "node:fs";
import path from "node:path";
import { writeFiles } from "../../page/files.js";
import { packageUrl, root } from "../../runner/paths.js";
import { cases } from "../cases/index.js";
import { parseReport } from "../report-file.js";
import { makePage } from "./page.js";

const folder = "quality";

export async function writePage(file: string): Promise<string> {
  const { drawCurves } = (await import(packageUrl)) as typeof import("../../../src/index.js");
  const report = parseReport(readFileSync(file, "utf8"), file);
  const source = path.relative(root, path.resolve(file)).split(path.sep).join("/");
  return writeFiles(makePage({ report, cases, source, folder, drawCurves }), { page: "quality.md", folder });
}
