// SPDX-License-Identifier: Apache-2.0
// One run of a chain: the steps in order, their events, and one way out. Whatever ends it (result, error, abort, a
// reader that leaves its loop), every segment is released before the result settles.

import { setMaxListeners } from "node:events";
import { checkRetention, checkSalt } from "../cache/cache-options.js";
import { ChainInvalidError } from "../errors.js";
import type { Model } from "../model/model.js";
import { EventChannel } from "./events.js";
import { sitesOf } from "./names.js";
import { RunState } from "./run-state.js";
import { Scope } from "./scope.js";
import type { Step } from "./steps/index.js";
import type { ChainEvent, ChainRun, Layout, RunOptions } from "./types.js";

export interface RunPlan {
  model: Model;
  steps: readonly Step[];
  layout: Layout;
  inputs: Readonly<Record<string, unknown>>;
}

/** Throws CHAIN_INVALID for missing, unknown, empty or non-text values. */
function checkInputs(steps: readonly Step[], inputs: unknown): asserts inputs is Record<string, string> {
  const expected = steps.filter((step) => step.given).map((step) => step.name);
  const list = expected.map((one) => `"${one}"`).join(", ") || "none";
  const fail = (what: string, name: string) => {
    throw new ChainInvalidError(`${what} This chain takes the inputs ${list}.`, {
      facts: { name, available: expected },
    });
  };
  if (typeof inputs !== "object" || inputs === null)
    fail(`The inputs are ${String(inputs)}, not an object.`, "");
  const given = inputs as Record<string, unknown>;
  for (const name of Object.keys(given)) {
    if (!expected.includes(name)) fail(`"${name}" is not an input to be given.`, name);
  }
  for (const name of expected) {
    const value = given[name];
    if (value === undefined) fail(`Input "${name}" is missing.`, name);
    else if (typeof value !== "string") fail(`Input "${name}" is of type ${typeof value}, not a text.`, name);
    else if (value === "") fail(`Input "${name}" is empty.`, name);
  }
}

async function execute(
  state: RunState,
  steps: readonly Step[],
  inputs: Readonly<Record<string, string>>,
): Promise<Record<string, unknown>> {
  try {
    state.signal.throwIfAborted();
    for (const { step, site } of sitesOf(steps)) await step.prepare?.(state, site);
    for (const { step, site } of sitesOf(steps)) step.warn?.(state, site);
    for (const [name, text] of Object.entries(inputs)) state.setText(name, text);
    state.checkFrames();
    state.startPrompts();
    const scope = Scope.root(state, inputs);
    await scope.execute(steps);
    return scope.outputs();
  } catch (error) {
    throw state.signal.aborted ? state.signal.reason : error;
  } finally {
    await state.releaseAll();
  }
}

/** Starts the run at once. All failures, bad inputs included, arrive through `result` and the iteration. */
export function startRun<Stage extends string, Results>(
  start: RunPlan,
  options: RunOptions,
): ChainRun<Stage, Results> {
  const { model, steps, layout, inputs } = start;
  const controller = new AbortController();
  const onAbort = () => controller.abort(options.signal?.reason);
  if (options.signal?.aborted) onAbort();
  else if (options.signal !== undefined) {
    setMaxListeners(0, options.signal); // one signal may stop any number of runs; each takes its listener away again
    options.signal.addEventListener("abort", onAbort, { once: true });
  }

  const channel = new EventChannel<Stage>(() => controller.abort());
  const run = async () => {
    try {
      checkInputs(steps, inputs);
      const emit = (event: ChainEvent) => channel.push(event as ChainEvent<Stage>);
      const cache = { salt: checkSalt(options.salt), retain: checkRetention(options.retain) };
      const state = new RunState({ model, steps, layout, cache, signal: controller.signal, emit });
      const result = await model.runs.run(controller.signal, () => execute(state, steps, inputs));
      channel.end();
      return result as Results;
    } catch (error) {
      controller.abort(error); // a `from` function that still runs hears of it
      channel.fail(error);
      throw error;
    } finally {
      options.signal?.removeEventListener("abort", onAbort);
    }
  };
  const result = run();
  result.catch(() => {}); // a reader of events hears the error there
  return { result, [Symbol.asyncIterator]: () => channel.iterator() };
}
