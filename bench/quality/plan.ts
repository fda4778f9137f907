// SPDX-License-Identifier: Apache-2.0
// Which runs a sitting makes, in which order: seed by seed, so that a sitting that ends early has every variant with
// the first seed before any with the second.
import { UsageError } from "../runner/options.js";
import type { PlannedRun, QualityCase, QualityReport } from "./contract.js";
import { runOf } from "./report-file.js";

/** Of cases "hotpot" and of variants "hotpot/shared". */
export function namesOf(cases: readonly QualityCase[]): string[] {
  return cases.flatMap(({ id, variants }) => [id, ...variants.map(({ name }) => `${id}/${name}`)]);
}

export function planRuns(
  cases: readonly QualityCase[],
  only: readonly string[],
  seeds: readonly number[],
): PlannedRun[] {
  const [first] = seeds;
  return seeds.flatMap((seed) =>
    cases.flatMap((one) =>
      one.variants
        .filter(
          ({ name }) => only.length === 0 || only.includes(one.id) || only.includes(`${one.id}/${name}`),
        )
        .filter(({ once }) => once !== true || seed === first)
        .map((variant) => ({ case: one, variant, seed: variant.once === true ? 1 : seed })),
    ),
  );
}

/** Those of the plan that the report has not. Throws UsageError for one that needs a run which is neither there nor before it. */
export function runsLeft(planned: readonly PlannedRun[], report: QualityReport): PlannedRun[] {
  const left = planned.filter(
    ({ case: one, variant, seed }) => runOf(report, one.id, variant.name, seed) === undefined,
  );
  for (const [at, { case: one, variant, seed }] of left.entries()) {
    for (const need of variant.needs ?? []) {
      const wanted = seedOf(one, need, seed);
      const isThere = runOf(report, one.id, need, wanted) !== undefined;
      const comes = left
        .slice(0, at)
        .some((other) => other.case === one && other.variant.name === need && other.seed === wanted);
      if (isThere || comes) continue;
      throw new UsageError(
        `${one.id}/${variant.name} with seed ${seed} takes the prompts of ${one.id}/${need} with seed ${wanted}, ` +
          "which has not run: name it in --only, too",
      );
    }
  }
  return left;
}

/** The seed of the run whose prompts a run with `seed` takes. */
export function seedOf({ variants }: QualityCase, need: string, seed: number): number {
  return variants.find(({ name }) => name === need)?.once === true ? 1 : seed;
}
