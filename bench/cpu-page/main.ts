// SPDX-License-Identifier: Apache-2.0
// `node bench/cpu-page.mjs FILE...`: writes docs/cpu-KIND.md and docs/cpu-KIND/*.svg, a page for each kind of machine.
import { readFileSync } from "node:fs";
import path from "node:path";
import { checkOpsReport, type OpsReport } from "../ops/report.js";
import { writeFiles } from "../page/files.js";
import { machineKind } from "../runner/machine.js";
import { root } from "../runner/paths.js";
import { checkReport, type Report } from "../runner/report.js";
import { workloadOf, workloads } from "../workloads/index.js";
import { mergeReports } from "./merge.js";
import { makePage, type Page } from "./page.js";

const named = (file: string) => path.relative(root, path.resolve(file)).split(path.sep).join("/");

export interface NamedPage extends Page {
  /** Of the page and of the folder of its pictures: "cpu-avx512". */
  name: string;
}

/** The page of files of the suites cpu and ops, in any order. Throws TypeError for files of other suites. */
export function pageOf(files: readonly string[]): NamedPage {
  const reports: Report[] = [];
  let ops: OpsReport | undefined;
  for (const file of files) {
    const value: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (typeof value === "object" && value !== null && "kernels" in value) ops = checkOpsReport(value);
    else reports.push(checkReport(value));
  }
  const report = mergeReports(reports);
  const name = `cpu-${machineKind(report.machine, report.settings.isa)}`;
  const page = makePage({ report, ops, workloads, workloadOf, sources: files.map(named), folder: name });
  return { ...page, name };
}

/** Writes it and gives its path. */
export function writePage(files: readonly string[]): string {
  const page = pageOf(files);
  return writeFiles(page, { page: `${page.name}.md`, folder: page.name });
}
