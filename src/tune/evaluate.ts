// SPDX-License-Identifier: Apache-2.0
// The dev loss: the mean over all labelled tokens of all items, so that it does not depend on how items fall into
// batches. (A step's own loss is the mean over items: method.md, part 3.)

import { TuningDivergedError } from "../errors.js";
import { inParts } from "./batches.js";
import type { HeldParameters, PreparedItem, TrainingTask } from "./task.js";

/** Prepares the items, calls `use` with them and releases them, whatever happens. */
export async function withPrepared<Item, T>(
  task: TrainingTask<Item>,
  items: readonly Item[],
  signal: AbortSignal,
  use: (prepared: PreparedItem[]) => Promise<T>,
): Promise<T> {
  const prepared: PreparedItem[] = [];
  try {
    for (const item of items) {
      signal.throwIfAborted();
      prepared.push(await task.prepare(item, signal));
    }
    const result = await use(prepared);
    signal.throwIfAborted();
    return result;
  } finally {
    for (const item of prepared) task.release(item);
  }
}

/** `onProgress` hears how many items are done. Throws TUNING_DIVERGED naming the item if a loss is no number. */
export async function devLoss<Item>(
  task: TrainingTask<Item>,
  items: readonly Item[],
  parameters: Pick<HeldParameters, "loss">,
  batchSize: number,
  signal: AbortSignal,
  onProgress: (done: number) => void = () => {},
): Promise<number> {
  let done = 0;
  let sum = 0;
  let labels = 0;
  for (const part of inParts(items, batchSize)) {
    await withPrepared(task, part, signal, async (prepared) => {
      const { losses } = await parameters.loss(prepared, { gradient: "none", scale: 1, signal });
      for (const [i, { rows, origin }] of prepared.entries()) {
        const loss = losses[i] as number;
        if (!Number.isFinite(loss)) {
          throw new TuningDivergedError(
            `The dev loss of ${origin} is ${loss}. Tune with a lower learning rate or from other initial rows.`,
            { facts: { origin, value: String(loss) } },
          );
        }
        sum += loss;
        labels += rows.labels;
      }
    });
    done += part.length;
    onProgress(done);
  }
  return sum / labels;
}
