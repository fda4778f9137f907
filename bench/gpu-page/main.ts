// SPDX-License-Identifier: Apache-2.0
// `node bench/gpu-page.mjs FILE...`: writes docs/gpu.md and docs/gpu/*.svg.
import path from "node:path";
import { readRunFiles } from "../gpu/files.js";
import { writeFiles } from "../page/files.js";
import { root } from "../runner/paths.js";
import { makePage } from "./page.js";

const named = (file: string) => path.relative(root, path.resolve(file)).split(path.sep).join("/");

/** Writes it and gives its path. */
export function writePage(files: readonly string[]): string {
  const page = makePage(readRunFiles(files), files.map(named));
  return writeFiles(page, { page: "gpu.md", folder: "gpu" });
}
