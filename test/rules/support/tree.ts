// SPDX-License-Identifier: Apache-2.0
// The files that the rules speak about, and their text.

import { readFileSync } from "node:fs";
import path from "node:path";
import { sourceFiles } from "../../../scripts/lib/files.mjs";
import { root } from "../../../scripts/lib/run.mjs";
import type { Language } from "./blank.js";

export const codeFolders = ["native", "src", "bench", "test", "scripts", "demo", "examples", "site"];
const cppExtensions = [".cpp", ".h", ".cu", ".cuh"];
export const codeExtensions = [...cppExtensions, ".ts", ".mjs"];

export function codeFiles(folders = codeFolders, extensions = codeExtensions): string[] {
  return sourceFiles(folders, extensions);
}

export function textOf(file: string): string {
  return readFileSync(path.join(root, file), "utf8");
}

export function languageOf(file: string): Language {
  return cppExtensions.some((extension) => file.endsWith(extension)) ? "cpp" : "ts";
}

export function lineCount(text: string): number {
  return text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
}
