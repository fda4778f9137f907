// SPDX-License-Identifier: Apache-2.0
// The files of a run on a GPU: lines of JSON (*.jsonl), several of them one behind the other, and reports (*.json).
import { readFileSync } from "node:fs";
import { checkReport } from "../runner/report.js";
import { type GpuRun, readRun } from "./lines.js";

/** Throws TypeError for a report that is none. */
export function readRunFiles(files: readonly string[]): GpuRun {
  const isLines = (file: string) => file.endsWith(".jsonl");
  const text = files.filter(isLines).map((file) => readFileSync(file, "utf8"));
  const reports = files
    .filter((file) => !isLines(file))
    .map((file) => checkReport(JSON.parse(readFileSync(file, "utf8"))));
  return readRun(text.join("\n"), reports);
}
