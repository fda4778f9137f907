// SPDX-License-Identifier: Apache-2.0
// One run of a chain: the steps in order, their events, and one way out. Whatever ends it (result, error, abort, a
// reader that leaves its loop), every segment is released before the result settles.

import { setMaxListeners } from "node:events";
import { checkRetention, checkSalt } from "../cache/cache-options.js";
import type { SnapshotSource, SnapshotTarget } from "../cache/snapshot/places.js";
import type { SnapshotOptions } from "../cache/snapshot/write.js";
import { writeSnapshot } from "../cache/snapshot/write.js";
import { ChainInvalidError, ClosedError } from "../errors.js";
import type { Model } from "../model/model.js";
import { didYouMean } from "../suggest.js";
import { EventChannel } from "./events.js";
import { sitesOf } from "./names.js";
import { restoreRun, runContent } from "./run-snapshot.js";
import { RunState } from "./run-state.js";
import { Scope } from "./scope.js";
import type { Step } from "./steps/index.js";
import type {
  ChainEvent,
  ChainRun,
  Layout,
  ResumedRun,
  ResumeOptions,
  ResumeReport,
  RunOptions,
} from "./types.js";

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
    throw new ChainInvalidError(`${what} This chain takes the inputs ${list}.${didYouMean(name, expected)}`, {
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

/** `prepared` gives the inputs, once everything that can fail without computing a row has not. */
async function execute(
  state: RunState,
  steps: readonly Step[],
  prepared: () => Promise<Readonly<Record<string, string>>>,
): Promise<Record<string, unknown>> {
  try {
    state.signal.throwIfAborted();
    for (const { step, site } of sitesOf(steps)) await step.prepare?.(state, site);
    const inputs = await prepared();
    for (const { step, site } of sitesOf(steps)) step.warn?.(state, site);
    for (const [name, text] of Object.entries(inputs)) state.setText(name, text);
    state.checkFrames();
    if (!state.resumes) state.startPrompts(); // otherwise as they are needed
    const scope = Scope.root(state, inputs);
    await scope.execute(steps);
    return scope.outputs();
  } catch (error) {
    throw state.signal.aborted ? state.signal.reason : error;
  } finally {
    await state.releaseAll();
  }
}

/** Where a run begins: with inputs, or with what a snapshot has. */
interface Beginning {
  /** Checked before anything waits; null: the snapshot has them. */
  inputs: Readonly<Record<string, string>> | null;
  prepared: (state: RunState) => Promise<Readonly<Record<string, string>>>;
}

/** Starts the run at once. All failures, bad inputs included, arrive through `result` and the iteration. */
export function startRun<Stage extends string, Results>(
  start: RunPlan,
  options: RunOptions,
): ChainRun<Stage, Results> {
  return begin(start, options, () => {
    const { inputs, steps } = start;
    checkInputs(steps, inputs);
    return { inputs, prepared: async () => inputs };
  });
}

/** The same for a run that goes on from a snapshot. */
export function resumeRun<Stage extends string, Results>(
  start: Omit<RunPlan, "inputs">,
  from: SnapshotSource,
  options: ResumeOptions,
): ResumedRun<Stage, Results> {
  let tell: (report: ResumeReport) => void = () => {};
  const read = new Promise<ResumeReport>((resolve) => {
    tell = resolve;
  });
  const { steps } = start;
  const run = begin<Stage, Results>(start, options, () => {
    const { salt, partial = false } = options;
    const prepared = async (state: RunState) => {
      const restoring = { from, partial, signal: state.signal, ...(salt && { salt }) };
      const { inputs, report } = await restoreRun(state, steps, restoring);
      checkInputs(steps, inputs);
      tell(report);
      return inputs;
    };
    return { inputs: null, prepared };
  });
  const resumed = Promise.race([read, run.result.then(() => read)]);
  resumed.catch(() => {});
  return Object.assign(run, { resumed });
}

function begin<Stage extends string, Results>(
  { model, steps, layout }: Omit<RunPlan, "inputs">,
  options: RunOptions,
  beginning: () => Beginning,
): ChainRun<Stage, Results> {
  const controller = new AbortController();
  const onAbort = () => controller.abort(options.signal?.reason);
  if (options.signal?.aborted) onAbort();
  else if (options.signal !== undefined) {
    setMaxListeners(0, options.signal); // one signal may stop any number of runs; each takes its listener away again
    options.signal.addEventListener("abort", onAbort, { once: true });
  }

  const channel = new EventChannel<Stage>(() => controller.abort());
  let now: { state: RunState; inputs: Beginning["inputs"] } | null = null;
  const run = async () => {
    try {
      const { inputs, prepared } = beginning();
      const emit = (event: ChainEvent) => channel.push(event as ChainEvent<Stage>);
      const cache = { salt: checkSalt(options.salt), retain: checkRetention(options.retain) };
      const { signal } = controller;
      const { onProgress } = options;
      const state = new RunState({ model, steps, layout, cache, signal, emit, onProgress });
      now = { state, inputs };
      const known = async () => {
        const given = await prepared(state);
        now = { state, inputs: given };
        return given;
      };
      const result = await model.runs.run(controller.signal, () => execute(state, steps, known));
      channel.end();
      return result as Results;
    } catch (error) {
      controller.abort(error); // a `from` function that still runs hears of it
      channel.fail(error);
      throw error;
    } finally {
      now = null;
      options.signal?.removeEventListener("abort", onAbort);
    }
  };
  const result = run();
  result.catch(() => {}); // a reader of events hears the error there
  const snapshot = async (to: SnapshotTarget, how: SnapshotOptions = {}) => {
    if (now !== null && now.inputs !== null)
      return writeSnapshot(runContent(now.state, steps, now.inputs), to, how);
    throw new ClosedError(
      "The run has ended, or has not read its own snapshot yet. Save a run while it is in progress.",
    );
  };
  return { result, snapshot, [Symbol.asyncIterator]: () => channel.iterator() };
}
