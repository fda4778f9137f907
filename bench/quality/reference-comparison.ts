// SPDX-License-Identifier: Apache-2.0
// Our losses beside those of the independent implementation: before training run by run the same number, after it the
// mean over seeds, because orders of items differ.

import { mean } from "../runner/statistics.js";
import { figures, tolerances } from "./cases/reference.js";
import type { QualityReport } from "./contract.js";
import { runsOf } from "./report-file.js";

export interface Compared {
  variant: string;
  /** "before training", "after epoch 2" */
  at: string;
  /** Mean over seeds. */
  ours: number;
  theirs: number;
  bySeed: number[];
  within: boolean;
}

/** Of what has been measured. */
export function compareWithReference(report: QualityReport): Compared[] {
  return Object.entries(figures).flatMap(([variant, { devLoss }]) => {
    const own = runsOf(report, "reference", variant);
    if (own.length === 0) return [];
    return devLoss.map((theirs, epoch): Compared => {
      const losses = own.map(({ evaluations }) => evaluations[epoch]?.devLoss ?? Number.NaN);
      const ours = mean(losses);
      const isTrained = epoch > 0 || variant === "naive";
      const allowed = isTrained ? tolerances.after : tolerances.before;
      const at = variant === "naive" ? "as it is" : epoch === 0 ? "before training" : `after epoch ${epoch}`;
      return { variant, at, ours, theirs, bySeed: losses, within: Math.abs(ours - theirs) <= allowed };
    });
  });
}
