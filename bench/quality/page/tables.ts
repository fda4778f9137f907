// SPDX-License-Identifier: Apache-2.0
// The tables of the page. What has not been measured is said to be so; a difference counts as one only when its
// interval leaves zero out.

import { table } from "../../page/markdown.js";
import { mean } from "../../runner/statistics.js";
import type { Interval } from "../bootstrap.js";
import { bootstrapMean, meanByItem, pairedDifference } from "../bootstrap.js";
import type { ItemScores, QualityCase, QualityReport, QualityRun } from "../contract.js";
import { compareWithReference } from "../reference-comparison.js";
import { runsOf } from "../report-file.js";

const notMeasured = "not measured";

export type Metric = keyof ItemScores;
export type Where = "chain" | "gold";

/** By item, over the runs that have them; null: none has. */
export function itemsOf(runs: readonly QualityRun[], where: Where, metric: Metric): number[] | null {
  const all = runs.flatMap((one) => (one[where] === undefined ? [] : [one[where][metric]]));
  return all.length === 0 ? null : meanByItem(all);
}

export function intervalOf(runs: readonly QualityRun[], where: Where, metric: Metric): Interval | null {
  const items = itemsOf(runs, where, metric);
  return items === null ? null : bootstrapMean(items);
}

const shownInterval = (one: Interval | null) =>
  one === null ? "-" : `${one.mean.toFixed(1)} (${one.low.toFixed(1)} to ${one.high.toFixed(1)})`;

const seedsOf = (runs: readonly QualityRun[]) => runs.map(({ seed }) => seed).join(", ");

function lossOf(runs: readonly QualityRun[], pick: (one: QualityRun) => number | undefined): string {
  const found = runs.flatMap((one) => pick(one) ?? []);
  return found.length === 0 ? "-" : mean(found).toFixed(3);
}

const keptLoss = ({ evaluations, kept }: QualityRun) =>
  evaluations.find(({ epoch }) => epoch === kept)?.devLoss;

/** Quality: a row per variant. */
export function qualityTable(report: QualityReport, { id, variants }: QualityCase): string {
  const head = [
    "variant",
    "seeds",
    "dev loss before",
    "dev loss kept",
    "exact match, gold texts",
    "F1, gold texts",
    "exact match, whole chain",
    "F1, whole chain",
  ];
  const rows = variants.map(({ name }) => {
    const runs = runsOf(report, id, name);
    if (runs.length === 0) return [name, notMeasured, ...head.slice(2).map(() => "")];
    const scores = (["gold", "chain"] as const).flatMap((where) =>
      (["exactMatch", "f1"] as const).map((metric) => shownInterval(intervalOf(runs, where, metric))),
    );
    const before = lossOf(runs, ({ evaluations }) => evaluations[0]?.devLoss);
    return [name, seedsOf(runs), before, lossOf(runs, keptLoss), ...scores];
  });
  return table(head, rows);
}

/** What it cost: a row per variant that was measured. */
export function costTable(report: QualityReport, { id, variants }: QualityCase): string {
  const rows = variants.flatMap(({ name }) => {
    const runs = runsOf(report, id, name);
    if (runs.length === 0) return [];
    const average = (pick: (one: QualityRun) => number | undefined, digits: number, unit: number) => {
      const found = runs.flatMap((one) => pick(one) ?? []);
      return found.length === 0 ? "-" : (mean(found) / unit).toFixed(digits);
    };
    return [
      [
        name,
        average(({ rows: all }) => all?.live, 0, 1),
        average(({ rows: all }) => all?.frozen, 0, 1),
        runs.flatMap(({ trainSeconds }) => trainSeconds?.toFixed(0) ?? []).join(", ") || "-",
        average(({ cost }) => cost?.rows, 0, 1),
        average(({ cost }) => cost?.seconds, 2, 1),
        average(({ cost }) => cost?.kvBytes, 2, 2 ** 20),
      ],
    ];
  });
  const head = [
    "variant",
    "live rows an epoch",
    "frozen rows read an epoch",
    "training by seed, s",
    "rows computed a chain",
    "seconds a chain",
    "KV of the last stage, MiB",
  ];
  return rows.length === 0 ? "" : table(head, rows);
}

const pairs: readonly (readonly [string, string])[] = [
  ["shared", "recompute"],
  ["shared", "naive"],
  ["shared", "base"],
  ["shared", "no-evidence"],
  ["shared", "other-evidence"],
  ["compress-alone", "compress"],
];

const verdict = ({ low, high }: Interval) =>
  low > 0 ? "better" : high < 0 ? "worse" : "no difference shown";

/** Paired differences, on seeds that both have. */
export function differenceTable(report: QualityReport, { id }: QualityCase): string {
  const rows = pairs.flatMap(([own, other]) => {
    const [a, b] = [runsOf(report, id, own), runsOf(report, id, other)];
    const isOnce = (runs: readonly QualityRun[]) => runs.length === 1;
    const common = a.filter(({ seed }) => b.some((one) => one.seed === seed));
    const ofOwn = isOnce(b) ? a : common;
    const ofOther = isOnce(b) ? b : b.filter(({ seed }) => common.some((one) => one.seed === seed));
    return (["chain", "gold"] as const).flatMap((where) =>
      (["exactMatch", "f1"] as const).flatMap((metric) => {
        const [x, y] = [itemsOf(ofOwn, where, metric), itemsOf(ofOther, where, metric)];
        if (x === null || y === null) return [];
        const difference = pairedDifference(x, y);
        const what = `${metric === "f1" ? "F1" : "exact match"}, ${where === "gold" ? "gold texts" : "whole chain"}`;
        return [[`${own} - ${other}`, what, seedsOf(ofOwn), shownInterval(difference), verdict(difference)]];
      }),
    );
  });
  const head = ["difference", "of", "seeds", "points, 95 % interval", "the first is"];
  return rows.length === 0 ? "" : table(head, rows);
}

/** Our losses beside the other implementation's. */
export function referenceTable(report: QualityReport): string {
  const rows = compareWithReference(report).map(({ variant, at, ours, theirs, bySeed, within }) => [
    variant,
    at,
    bySeed.map((one) => one.toFixed(3)).join(", "),
    ours.toFixed(3),
    theirs.toFixed(3),
    (ours - theirs).toFixed(3),
    within ? "yes" : "NO",
  ]);
  return rows.length === 0
    ? ""
    : table(["variant", "dev loss", "by seed", "mean", "the other", "difference", "within bounds"], rows);
}

/** Exact match and F1 as the other implementation has them, beside ours. */
export function referenceScores(
  report: QualityReport,
  figures: Readonly<Record<string, { exactMatch: number[]; f1: number[] }>>,
): string {
  const rows = Object.entries(figures).flatMap(([variant, theirs]) => {
    const runs = runsOf(report, "reference", variant);
    if (runs.length === 0) return [];
    const at = (metric: Metric, last: boolean) => {
      const all = runs.flatMap(({ evaluations }) => evaluations.at(last ? -1 : 0)?.[metric] ?? []);
      return all.length === 0 ? "-" : mean(all).toFixed(1);
    };
    const ours = (metric: Metric) =>
      theirs[metric].length === 1 ? at(metric, true) : `${at(metric, false)} to ${at(metric, true)}`;
    const others = (metric: Metric) => theirs[metric].map((one) => one.toFixed(1)).join(" to ");
    return [[variant, seedsOf(runs), ours("exactMatch"), others("exactMatch"), ours("f1"), others("f1")]];
  });
  const head = ["variant", "seeds", "exact match, Baton", "the other", "F1, Baton", "the other"];
  return rows.length === 0 ? "" : table(head, rows);
}
