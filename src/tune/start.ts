// SPDX-License-Identifier: Apache-2.0
// Where a training run begins: at the initial values, or where its checkpoint stands.

import { CheckpointInvalidError } from "../errors.js";
import { firstOrder } from "./batches.js";
import type { Progress } from "./checkpoint.js";
import { differences, openCheckpoint } from "./checkpoint.js";
import { checkWritable, removeLeftovers } from "./files.js";
import { createAdamWState } from "./optimizer.js";
import { changeable, orderIdentity } from "./settings.js";
import type { ParameterNumbers } from "./task.js";
import type { TrainRun } from "./train.js";

export interface Start extends ParameterNumbers {
  progress: Progress;
  /** Steps of the checkpoint that it goes on from; null: none. */
  resumedFrom: number | null;
}

/** Throws IO, CHECKPOINT_INVALID. */
export async function startOf<Item>({
  settings,
  task,
  items,
  initial,
  identity,
  onWarning,
}: TrainRun<Item>): Promise<Start> {
  const progress: Progress = {
    identity: { ...identity, ...orderIdentity(settings, items.length) },
    settings: changeable(settings),
    step: 0,
    order: firstOrder(settings.seed),
    best: null,
    waited: 0,
    history: [],
    evaluations: [],
    finished: false,
  };
  const fresh = { progress, values: [...initial], adam: createAdamWState(initial), resumedFrom: null };
  const { checkpoint: path, resume } = settings;
  if (path === null) return fresh;
  const file = await openCheckpoint(path);
  await removeLeftovers(path); // not when prompts are taken out: then the run may be writing
  await checkWritable(path);
  if (file === null) return fresh;
  if (!resume) {
    if (file.finished) return fresh;
    throw new CheckpointInvalidError(
      `${file.path} is the checkpoint of a run that has not ended (step ${file.step}). Resume it, delete it, or name ` +
        "another file.",
      { facts: { path: file.path, step: file.step } },
    );
  }
  const { values, adam, ...found } = file.restore(progress.identity, task.parameters);
  const changed = differences(found.settings, progress.settings);
  if (changed.length > 0) {
    const list = changed.map((one) => `${one.field} was ${one.there} and is ${one.here}`).join("; ");
    onWarning(
      `${file.path} was written under other settings (${list}): the run goes on otherwise than it would have.`,
    );
  }
  const gone = { ...found, settings: progress.settings, finished: false };
  return { progress: gone, values, adam, resumedFrom: found.step };
}
