// SPDX-License-Identifier: Apache-2.0
// The tables of the page. A promise that was not or could not be measured here is a row that says so.
import type { MachineKind, Workload } from "../contract.js";
import { table } from "../page/markdown.js";
import { checkFloors, promiseOf } from "../runner/floors.js";
import type { Report, Result } from "../runner/report.js";
import { figure, profileRows } from "../runner/table.js";

const own = "baton";

const span = ({ min, max }: { min: number; max: number }) => `${figure(min)} to ${figure(max)}`;

/** "met", "missed" or "not measured"; what was measured beside other work says so. */
function verdict(outcome: "pass" | "miss" | "not measured", disturbed: boolean): string {
  const words = { pass: "met", miss: "**missed**", "not measured": "not measured" };
  return words[outcome] + (disturbed ? " (beside other work)" : "");
}

export function targetTable(
  { results }: Report,
  workloadOf: (id: string) => Workload | undefined,
  kind: MachineKind,
): string {
  const rows = checkFloors(results, workloadOf, own, kind).map((one) => [
    one.workload,
    one.metric,
    one.promise,
    one.figure === null ? "-" : figure(one.figure),
    one.span === undefined ? "" : span(one.span),
    verdict(one.outcome, one.disturbed),
  ]);
  return rows.length === 0 ? "" : table(["case", "metric", "target", "measured", "span", "verdict"], rows);
}

/** Promises that are made for other machines only. */
export function elsewhereTable(workloads: readonly Workload[], kind: MachineKind): string {
  const rows = workloads.flatMap(({ name, floors, metrics }) =>
    floors.flatMap((floor) => {
      const { on, metric, cases } = floor;
      if (on === undefined || on.includes(kind)) return [];
      const measured = metrics.find((one) => one.name === metric);
      if (measured === undefined) return [];
      const of = cases?.source.replace(/[-$]/g, "") ?? "all";
      return [[name, of, promiseOf(floor, measured), on.join(", ")]];
    }),
  );
  return rows.length === 0 ? "" : table(["workload", "cases", "target", "needs"], rows);
}

/** Everything that has no figure, with its reason: cases, subjects, and workloads that were not asked for. */
export function unmeasuredTable(
  { results, unmeasured = [] }: Report,
  workloads: readonly Workload[],
): string {
  const rows = unmeasured.map(({ workload, subject = "all", why }) => [workload, subject, why]);
  for (const { name } of workloads) {
    const has = [...results, ...unmeasured].some(({ workload }) => workload.startsWith(`${name}-`));
    if (!has) rows.push([name, "all", "was not asked for"]);
  }
  return rows.length === 0 ? "" : table(["case", "subject", "why"], rows);
}

export function resultTable(results: readonly Result[]): string {
  const rows = results.map(({ workload, metric, subject, unit, way = "", n, disturbed, ...one }) => [
    workload,
    metric,
    subject,
    `${figure(one.median)} ${unit}`,
    span(one),
    disturbed > 0 ? `${n} (${disturbed} beside other work)` : String(n),
    way,
  ]);
  const head = ["case", "metric", "subject", "median", "span", "trials", "set up with"];
  return rows.length === 0 ? "" : table(head, rows);
}

export function triedTable({ tried = [] }: Report): string {
  const rows = tried.map(({ workload, subject, way, metric, value }) => [
    ...[workload, subject, way, `${figure(value)} (${metric})`],
  ]);
  return rows.length === 0 ? "" : table(["case", "subject", "set up with", "one try"], rows);
}

/** Where the time goes in cases that missed a target. */
export function profileTable({ profiles = [] }: Report): string {
  const head = ["case", "operation", "of the time", "of the nearest limit"];
  return profiles.length === 0 ? "" : table(head, profiles.flatMap(profileRows));
}

/** Suffixes of the metrics of subjects/divergence.ts and llama-perplexity.ts in words. */
const pathNames: Record<string, string> = {
  "": "as it comes",
  "-one-by-one": "one row at a time",
  "-invariant": "batchInvariant",
  "-bf16-kv": "K and V bf16",
  "-int8-kv": "K and V int8 (llama.cpp: q8_0)",
};

function divergenceRows(ofCase: readonly Result[]): string[][] {
  return [...new Set(ofCase.map(({ subject }) => subject))].flatMap((subject) =>
    Object.entries(pathNames).flatMap(([suffix, name]) => {
      const of = (metric: string) =>
        ofCase.find((one) => one.subject === subject && one.metric === `${metric}${suffix}`);
      const [kl, top] = [of("kl"), of("top")];
      if (kl === undefined || top === undefined) return [];
      return [[kl.workload, subject, name, kl.median.toFixed(3), `${top.median.toFixed(2)} %`]];
    }),
  );
}

export function divergenceTable(results: readonly Result[]): string {
  const all = results.filter(({ workload }) => workload.startsWith("cpu-divergence-"));
  const ids = [...new Set(all.map(({ workload }) => workload))];
  const rows = ids.flatMap((id) => divergenceRows(all.filter(({ workload }) => workload === id)));
  const head = ["case", "subject", "path", "mean KL, 1e-3 nats", "same likeliest token"];
  return rows.length === 0 ? "" : table(head, rows);
}
