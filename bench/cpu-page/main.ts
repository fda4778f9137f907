// SPDX-License-Identifier: Apache-2.0
// `node bench/cpu-page.mjs CPU.json [OPS.json]`: writes docs/cpu.md and docs/cpu/*.svg.
import { readFileSync } from "node:fs";
import path from "node:path";
import { checkOpsReport } from "../ops/report.js";
import { writeFiles } from "../page/files.js";
import { root } from "../runner/paths.js";
import { checkReport } from "../runner/report.js";
import { workloadOf, workloads } from "../workloads/index.js";
import { makePage, type Page } from "./page.js";

const folder = "cpu";

const named = (file: string) => path.relative(root, path.resolve(file)).split(path.sep).join("/");
const readJson = (file: string): unknown => JSON.parse(readFileSync(file, "utf8"));

/** The page of these files. Throws TypeError for files of other suites. */
export function pageOf(cpu: string, ops: string | undefined): Page {
  return makePage({
    report: checkReport(readJson(cpu)),
    ops: ops === undefined ? undefined : checkOpsReport(readJson(ops)),
    workloads,
    workloadOf,
    sources: { cpu: named(cpu), ops: ops === undefined ? undefined : named(ops) },
    folder,
  });
}

/** Writes it and gives its path. */
export function writePage(cpu: string, ops: string | undefined): string {
  return writeFiles(pageOf(cpu, ops), { page: "cpu.md", folder });
}
