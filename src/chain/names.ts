// SPDX-License-Identifier: Apache-2.0
// Names of a definition: each is declared once in its group and in no group around it, and an input belongs to one
// stage at most. Groups beside each other may use the same names: nothing outside sees them.

import { ChainInvalidError } from "../errors.js";
import { didYouMean } from "../suggest.js";
import type { Step } from "./steps/step.js";
import type { Layout } from "./types.js";

/** Throws CHAIN_INVALID for a name that is declared twice. `outer`: names declared before, around these steps. */
export function checkNames(steps: readonly Step[], outer: ReadonlySet<string>): void {
  const names = new Set(outer);
  for (const step of steps) {
    if (names.has(step.name)) {
      throw new ChainInvalidError(
        `"${step.name}" is declared twice. Give each input, stage and group a name of its own.`,
        { facts: { name: step.name } },
      );
    }
    names.add(step.name);
    if (step.body !== undefined) checkNames(step.body, step.closed === true ? new Set() : names);
  }
}

/** Every step with its site: its name behind those of the groups it is in. */
export function* sitesOf(
  steps: readonly Step[],
  prefix = "",
): Generator<{ step: Step; site: string }, void, undefined> {
  for (const step of steps) {
    const site = prefix + step.name;
    yield { step, site };
    if (step.body !== undefined) yield* sitesOf(step.body, `${site}.`);
  }
}

/** Throws CHAIN_INVALID for a group whose instances the layout cannot place. */
export function checkPlaces(steps: readonly Step[], layout: Layout): void {
  const found = layout === "concatenated" ? [...sitesOf(steps)].find(({ step }) => step.apart) : undefined;
  if (found === undefined) return;
  throw new ChainInvalidError(
    `"${found.site}" has branches that run at once, and layout "concatenated" places each behind the one before. ` +
      'Use layout "contiguous".',
    { facts: { step: found.site, layout } },
  );
}

/** Site of an input -> site of the stage that owns it. Claims are checked here, before anything is planned. */
export function ownersOf(steps: readonly Step[]): Map<string, string> {
  const owners = new Map<string, string>();
  claim(steps, "", new Map(), owners);
  return owners;
}

/** `around`: inputs that may be claimed, declared before in the groups around: name -> site. */
function claim(
  steps: readonly Step[],
  prefix: string,
  around: ReadonlyMap<string, string>,
  owners: Map<string, string>,
): void {
  const declared = new Map(around);
  for (const step of steps) {
    const site = prefix + step.name;
    for (const name of step.claims) {
      const input = declared.get(name);
      const available = [...declared].filter(([, one]) => !owners.has(one)).map(([one]) => one);
      const fail = (why: string) =>
        new ChainInvalidError(
          `Stage "${step.name}" cannot own "${name}": ${why}. ` +
            `It may own ${available.map((one) => `"${one}"`).join(", ") || "nothing"}.${didYouMean(name, available)}`,
          { facts: { step: step.name, name, available } },
        );
      if (input === undefined) throw fail("no input of that name is declared before");
      const owner = owners.get(input);
      if (owner === site) throw fail("it is named twice");
      if (owner !== undefined) throw fail(`it is already private to stage "${owner}"`);
      owners.set(input, site);
    }
    if (step.claimable) declared.set(step.name, site);
    if (step.body !== undefined) {
      claim(step.body, `${site}.`, step.closed === true ? new Map() : declared, owners);
    }
  }
}
