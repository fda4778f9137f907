// SPDX-License-Identifier: Apache-2.0
// What a sitting prints at its end: every variant's mean over its seeds, and where the case has figures of another
// implementation, how far they are.

import { mean } from "../runner/statistics.js";
import type { QualityCase, QualityReport, QualityRun } from "./contract.js";
import { compareWithReference } from "./reference-comparison.js";
import { runsOf } from "./report-file.js";

const shown = (scores: { exactMatch: number[]; f1: number[] }) =>
  `exact match ${mean(scores.exactMatch).toFixed(1)}, F1 ${mean(scores.f1).toFixed(1)}`;

export function runLine({
  case: id,
  variant,
  seed,
  evaluations,
  gold,
  chain,
  trainSeconds,
}: QualityRun): string {
  const losses = evaluations.map(({ devLoss }) => devLoss.toFixed(3)).join(" / ");
  const parts = [
    losses === "" ? "" : `dev loss ${losses}`,
    gold === undefined ? "" : `behind gold texts ${shown(gold)}`,
    chain === undefined ? "" : `whole chains ${shown(chain)}`,
    trainSeconds === undefined ? "" : `${Math.round(trainSeconds)} s`,
  ];
  return `${id}/${variant}, seed ${seed}: ${parts.filter((one) => one !== "").join("; ")}`;
}

export function summaryLines(report: QualityReport, cases: readonly QualityCase[]): string[] {
  const lines = cases.flatMap(({ id, variants }) =>
    variants.flatMap(({ name }) => {
      const runs = runsOf(report, id, name);
      return runs.length === 0 ? [`${id}/${name}: not measured`] : runs.map(runLine);
    }),
  );
  const compared = compareWithReference(report).map(
    ({ variant, at, ours, theirs, within }) =>
      `${variant}, ${at}: ${ours.toFixed(3)} against ${theirs.toFixed(3)}, ${within ? "agrees" : "DIFFERS"}`,
  );
  return compared.length === 0
    ? lines
    : [...lines, "", "against the independent implementation", ...compared];
}
