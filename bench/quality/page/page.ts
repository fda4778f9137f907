// SPDX-License-Identifier: Apache-2.0
// docs/quality.md and its pictures, from the suite's JSON and nothing else.
import type { Curves } from "../../../src/index.js";
import { table } from "../../page/markdown.js";
import { figures, tolerances } from "../cases/reference.js";
import type { QualityCase, QualityReport, QualityRun } from "../contract.js";
import { runsOf } from "../report-file.js";
import type { Panel } from "./bars.js";
import { drawBars } from "./bars.js";
import type { Metric, Where } from "./tables.js";
import {
  costTable,
  differenceTable,
  intervalOf,
  qualityTable,
  referenceScores,
  referenceTable,
} from "./tables.js";

export interface Page {
  markdown: string;
  /** By file name. */
  pictures: ReadonlyMap<string, string>;
}

export interface PageInit {
  report: QualityReport;
  cases: readonly QualityCase[];
  /** Of the JSON, as the page names it. */
  source: string;
  /** Folder of the pictures, as the page names it. */
  folder: string;
  drawCurves: (curves: Curves) => string;
}

const places: readonly (readonly [Where, Metric, string])[] = [
  ["chain", "exactMatch", "Exact match of whole chains, percent, with 95 % intervals"],
  ["chain", "f1", "F1 of whole chains, percent, with 95 % intervals"],
  ["gold", "exactMatch", "Exact match behind gold texts, percent, with 95 % intervals"],
  ["gold", "f1", "F1 behind gold texts, percent, with 95 % intervals"],
];

function barsOf(report: QualityReport, { id, title, variants }: QualityCase): string | null {
  const panels = places.flatMap(([where, metric, name]): Panel[] => {
    const bars = variants.flatMap((one) => {
      const value = intervalOf(runsOf(report, id, one.name), where, metric);
      return value === null ? [] : [{ name: one.name, value }];
    });
    return bars.length === 0 ? [] : [{ title: name, bars }];
  });
  return panels.length === 0 ? null : drawBars(title, panels);
}

/** What drawCurves reads of steps and evaluations. */
function curvesOf({ losses = [], evaluations }: QualityRun): Curves {
  const epochs = evaluations.at(-1)?.epoch ?? 1;
  const perEpoch = losses.length / epochs;
  return {
    steps: losses.map((loss, at) => ({ step: at + 1, loss })) as unknown as Curves["steps"],
    evaluations: evaluations.map(({ epoch, devLoss }) => ({
      step: Math.round(epoch * perEpoch),
      epoch,
      devLoss,
      scores: {},
    })),
  };
}

/** "4", or where the variants differ "8 (compress), 4 (shared, recompute)". */
function settingText(runs: readonly QualityRun[], name: string): string {
  const variants = new Map<string, Set<string>>();
  for (const { settings, variant } of runs) {
    const value = String(settings[name]);
    variants.set(value, (variants.get(value) ?? new Set()).add(variant));
  }
  if (variants.size === 1) return String(runs[0]?.settings[name]);
  return [...variants].map(([value, names]) => `${value} (${[...names].join(", ")})`).join(", ");
}

function settingsTable(runs: readonly QualityRun[]): string {
  const [first] = runs;
  if (first === undefined) return "";
  return table(
    ["setting", "value"],
    Object.keys(first.settings).map((name) => [name, settingText(runs, name)]),
  );
}

function aboutTable({ variants }: QualityCase): string {
  return table(
    ["variant", "what it is"],
    variants.map(({ name, about }) => [name, about]),
  );
}

function caseText(init: PageInit, one: QualityCase, pictures: Map<string, string>): string[] {
  const { report, folder, drawCurves } = init;
  const facts = Object.entries(report.facts[one.id] ?? {});
  const all = one.variants.flatMap(({ name }) => runsOf(report, one.id, name));
  const parts = [`## ${one.title}`, aboutTable(one)];
  if (facts.length > 0) {
    const shown = (value: number) => (Number.isInteger(value) ? String(value) : value.toFixed(2));
    parts.push(
      table(
        ["fact about the data", ""],
        facts.map(([name, value]) => [name, shown(value)]),
      ),
    );
  }
  if (all.length === 0) return [...parts, "No variant of it has been measured yet."];
  if (one.id === "reference") parts.push(...referenceText(report));
  parts.push(qualityTable(report, one), differenceTable(report, one), costTable(report, one));
  const bars = barsOf(report, one);
  const add = (name: string, svg: string, alt: string) => {
    pictures.set(name, svg);
    parts.push(`![${alt}](${folder}/${name})`);
  };
  if (bars !== null) add(`${one.id}.svg`, bars, `Scores of the variants of ${one.id}`);
  for (const run of all) {
    if (run.losses === undefined) continue;
    const name = `${one.id}-${run.variant}-${run.seed}.svg`;
    add(name, drawCurves(curvesOf(run)), `Loss curves of ${one.id}/${run.variant}, seed ${run.seed}`);
  }
  parts.push(settingsTable(all.filter(({ losses }) => losses !== undefined)));
  return parts.filter((part) => part !== "");
}

function referenceText(report: QualityReport): string[] {
  return [
    `Bounds: the dev loss before training within ${tolerances.before}, the mean over seeds after each epoch within ` +
      `${tolerances.after} of the other implementation's.`,
    referenceTable(report),
    referenceScores(report, figures),
  ];
}

export function makePage(init: PageInit): Page {
  const { report, cases, source } = init;
  const { model, threads } = report;
  const pictures = new Map<string, string>();
  const machines = [...new Set(report.runs.map(({ machine }) => machine))].join("; ");
  const commits = [...new Set(report.runs.map(({ commit }) => commit.slice(0, 12)))].join(", ");
  const parts = [
    "# Quality: what sharing the KV costs, and what tuning buys",
    `Written by \`node bench/quality-page.mjs ${source}\` from [the measurements](../${source}); ` +
      "they are made by `npm run bench -- --suite quality --json FILE`.",
    `${model}, ${machines}, ${threads} threads; commit ${commits}. Seconds are of a machine that others ` +
      "used at the same time; losses, scores, rows and bytes do not depend on that.",
    "Loss: mean cross entropy (natural logarithm) over the labelled tokens of the dev items, behind gold texts. Exact match " +
      "and F1 in percent with SQuAD's normalisation: behind gold texts a stage reads what the data say, in whole chains it " +
      "reads what the stage before it wrote. Intervals are 95 % percentile intervals of 10,000 bootstrap samples of the " +
      "items; of several seeds an item's mean is taken first, so that they say how far other items could change a figure, not " +
      "how far other seeds could. Differences are paired: the same items are drawn for both. The first seed's training " +
      "seconds hold the computing of most frozen rows, which later seeds find on disk.",
    ...cases.flatMap((one) => caseText(init, one, pictures)),
  ];
  return { markdown: `${parts.join("\n\n")}\n`, pictures };
}
