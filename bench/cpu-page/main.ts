// SPDX-License-Identifier: Apache-2.0
// `node bench/cpu-page.mjs FILE...`: writes docs/cpu.md and docs/cpu/*.svg.
import { readFileSync } from "node:fs";
import path from "node:path";
import { checkOpsReport, type OpsReport } from "../ops/report.js";
import { writeFiles } from "../page/files.js";
import { root } from "../runner/paths.js";
import { checkReport, type Report } from "../runner/report.js";
import { workloadOf, workloads } from "../workloads/index.js";
import { mergeReports } from "./merge.js";
import { makePage, type Page } from "./page.js";

const folder = "cpu";

const named = (file: string) => path.relative(root, path.resolve(file)).split(path.sep).join("/");

/** The page of files of the suites cpu and ops, in any order. Throws TypeError for files of other suites. */
export function pageOf(files: readonly string[]): Page {
  const reports: Report[] = [];
  let ops: OpsReport | undefined;
  for (const file of files) {
    const value: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (typeof value === "object" && value !== null && "kernels" in value) ops = checkOpsReport(value);
    else reports.push(checkReport(value));
  }
  const report = mergeReports(reports);
  return makePage({ report, ops, workloads, workloadOf, sources: files.map(named), folder });
}

/** Writes it and gives its path. */
export function writePage(files: readonly string[]): string {
  return writeFiles(pageOf(files), { page: "cpu.md", folder });
}
