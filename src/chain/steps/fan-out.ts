// SPDX-License-Identifier: Apache-2.0
// The same steps over items, or several samples of them. Branches see what stands around them and not each other, so
// they run at once, in one batch of the engine. What they read of the chain before them is computed first and once: its
// KV exists once, however many branches read it.

import { setMaxListeners } from "node:events";
import { ChainInvalidError } from "../../errors.js";
import type { Lane } from "../lane.js";
import type { RunState } from "../run-state.js";
import type { Scope, ScopeInit } from "../scope.js";
import { checkOptionNames, invalidOption } from "../step-options.js";
import type { CallContext } from "../types.js";
import { checkBody, checkNothingGiven } from "./group.js";
import type { Step } from "./step.js";

export interface FanOutStepOptions {
  body: readonly Step[];
  items?: (results: never, context: CallContext) => readonly string[] | Promise<readonly string[]>;
  samples?: number;
}

const kind = "Fan-out";

export function createFanOutStep(name: string, options: FanOutStepOptions): Step {
  checkOptionNames(kind, name, options, ["body", "items", "samples"]);
  const { body, items, samples } = options;
  checkBody(kind, name, body);
  const given = checkSource(name, options);
  return {
    name,
    claims: [],
    claimable: false,
    given: false,
    body,
    apart: true,
    runs: { least: samples ?? 0, most: samples ?? Number.POSITIVE_INFINITY, numbered: true },
    note: samples === undefined ? "one branch per item" : `${samples} branches`,
    withBody: (inside) => createFanOutStep(name, { ...options, body: inside }),
    plan(planner) {
      const count = planner.instancesOf(name, samples ?? Number.POSITIVE_INFINITY);
      const labels = Array.from({ length: count }, (_, index) => `[${index}]`);
      planner.planApart(name, labels, body);
    },
    async execute(scope) {
      const { run } = scope;
      const group = scope.nameOf(name);
      const texts = items === undefined ? null : await askItems(scope, group, items);
      const count = texts?.length ?? samples ?? 0;
      run.decide(group, count);
      await writeTrunk(run, scope.lane, group);
      const branches = Array.from({ length: count }, (_, index): Partial<ScopeInit> => {
        const item = texts?.[index];
        // of samples in samples no two have the same seed
        if (item === undefined) return { seed: scope.seed * count + index, facts: { index } };
        return { given: { [given ?? ""]: item }, facts: { item, index } };
      });
      scope.set(name, await runBranches(scope, name, branches, body));
      run.releaseUnread();
    },
  };
}

/** The input that takes the item, null for samples. Throws OPTION_INVALID, CHAIN_INVALID. */
function checkSource(name: string, { items, samples, body }: FanOutStepOptions): string | null {
  if ((items === undefined) === (samples === undefined)) {
    throw invalidOption(
      kind,
      name,
      items === undefined ? "items" : "samples",
      items ?? samples,
      "given alone",
    );
  }
  if (samples !== undefined) {
    if (!Number.isInteger(samples) || samples < 1) {
      throw invalidOption(kind, name, "samples", samples, "a whole number of at least 1");
    }
    checkNothingGiven(kind, name, body);
    return null;
  }
  if (typeof items !== "function") throw invalidOption(kind, name, "items", items, "a function");
  const given = body.filter((step) => step.given).map((step) => step.name);
  if (given.length === 1) return given[0] ?? null;
  throw new ChainInvalidError(
    `Fan-out "${name}" over items has ${given.length} inputs without \`from\` inside. ` +
      "Declare one, which takes the item; give the others a `from` function.",
    { facts: { step: name, available: given } },
  );
}

async function askItems(
  scope: Scope,
  group: string,
  items: NonNullable<FanOutStepOptions["items"]>,
): Promise<readonly string[]> {
  const list = await scope.call(group, "The `items` function of", items);
  const fail = (what: string) =>
    new ChainInvalidError(`The \`items\` function of "${group}" returned ${what}. Return a list of texts.`, {
      facts: { step: group },
    });
  if (!Array.isArray(list)) throw fail(`a value of type ${typeof list}`);
  for (const [index, item] of list.entries()) {
    if (typeof item !== "string") throw fail(`an item ${index} of type ${typeof item}`);
    if (item === "") throw fail(`an empty item ${index}`);
  }
  return list;
}

/** Computes what the branches read of what stands around them, so that their jobs need not wait for each other. */
async function writeTrunk(run: RunState, lane: Lane, group: string): Promise<void> {
  const isInside = (name: string) => name.startsWith(`${group}[`);
  const inside = run.plan.segments.filter((one) => isInside(one.name));
  const trunk = new Set(inside.flatMap((one) => one.reads).filter((id) => !isInside(id)));
  // What only an input reads that no stage is going to read is not needed, and what it reads may be gone.
  for (const id of trunk) {
    if (run.isStillRead(id) && run.segment(id).kind !== "prompt") await lane.ensure(id);
  }
  if (inside.length > 0) await lane.flush();
}

/** Results in order. The first failure stops the other branches; it is thrown when all of them have ended. */
async function runBranches(
  scope: Scope,
  name: string,
  branches: readonly Partial<ScopeInit>[],
  body: readonly Step[],
): Promise<Record<string, unknown>[]> {
  const { run } = scope;
  const group = new AbortController();
  const signal = AbortSignal.any([scope.lane.signal, group.signal]);
  setMaxListeners(0, signal);
  const running = branches.map(async (init, index) => {
    const lane = run.openLane(signal);
    if (index === 0) lane.adopt(scope.lane); // the first branch is the first to need the trunk
    const inner = scope.inner(name, `[${index}]`, { ...init, lane });
    try {
      await inner.execute(body);
      return { lane, declared: inner.declared() };
    } catch (error) {
      group.abort(error);
      throw error;
    }
  });
  await Promise.allSettled(running);
  if (group.signal.aborted) throw group.signal.reason;
  return Promise.all(
    running.map(async (branch) => {
      const { lane, declared } = await branch;
      scope.lane.adopt(lane);
      run.closeLane(lane);
      return declared;
    }),
  );
}
