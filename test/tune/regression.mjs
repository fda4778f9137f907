// SPDX-License-Identifier: Apache-2.0
// A training task that is solved exactly: softmax regression on one-hot contexts, computed in float64. A label is a
// class y in a context c; its loss is -log softmax(W[:, c] + b)[y]. Weighted as training weights it, the best loss is the
// conditional entropy of classes given contexts, in closed form. Plain JavaScript, so that children can run it too.

/** @typedef {{ origin: string, contexts: number[], classes: number[] }} Item */

export const classes = 4;
export const contexts = 3;

/** Items of 1 to 5 labels, from a fixed sequence; every class occurs in every context. @param {number} count */
export function regressionItems(count) {
  let x = 12345;
  const draw = (/** @type {number} */ below) => {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    return (x >>> 16) % below;
  };
  /** @type {Item[]} */
  const items = [];
  for (let i = 0; i < count; i++) {
    const labels = 1 + draw(5);
    const where = Array.from({ length: labels }, () => draw(contexts));
    // classes 0 and 1 are likelier, and which of them depends on the context
    const what = where.map((context) => (draw(3) === 0 ? draw(classes) : (context + draw(2)) % classes));
    items.push({ origin: `regression:${i + 1}`, contexts: where, classes: what });
  }
  return items;
}

/** The least loss any values can have: mean over items of the item's mean. @param {readonly Item[]} items */
export function leastLoss(items) {
  const weights = Array.from({ length: contexts }, () => new Float64Array(classes));
  for (const item of items) {
    for (const [i, context] of item.contexts.entries()) {
      weights[context][item.classes[i]] += 1 / items.length / item.classes.length;
    }
  }
  let loss = 0;
  for (const row of weights) {
    const total = row.reduce((sum, one) => sum + one, 0);
    for (const one of row) if (one > 0) loss -= one * Math.log(one / total);
  }
  return loss;
}

const aborted = (/** @type {AbortSignal | undefined} */ signal) => signal?.throwIfAborted();
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** W [classes, contexts] and b [classes, 1]. Whoever trains it says who holds them (`hold`). */
export class RegressionTask {
  parameters = [
    { stage: "recall", rows: classes, hidden: contexts },
    { stage: "reason", rows: classes, hidden: 1 },
  ];
  /** Prepared and not released. */
  held = 0;
  /** Called at every point where something is waited for. @type {(where: string) => void} */
  onWait = () => {};
  /** @type {Set<Item>} */
  #seen = new Set();
  /** @type {Map<unknown, Item>} */
  #prepared = new Map();

  initial() {
    return [new Float32Array(classes * contexts), new Float32Array(classes)];
  }

  /** @param {Item} item @param {AbortSignal} [signal] */
  async prepare(item, signal) {
    this.onWait("prepare");
    aborted(signal);
    await turn();
    aborted(signal);
    const labels = item.classes.length;
    const frozen = 2 * labels;
    const rows = { live: labels + 1, frozen, unneeded: 0, labels };
    const prepared = { origin: item.origin, rows, reused: this.#seen.has(item) ? frozen : 0 };
    this.#seen.add(item);
    this.#prepared.set(prepared, item);
    this.held += 1;
    return prepared;
  }

  /** @param {unknown} prepared */
  release(prepared) {
    if (!this.#prepared.delete(prepared)) throw new Error("released what is not held");
    this.held -= 1;
  }

  /**
   * @param {readonly unknown[]} items
   * @param {readonly Float32Array[]} values
   * @param {{ gradient: boolean, scale: number, signal?: AbortSignal }} options
   */
  async loss(items, values, { gradient, scale, signal }) {
    this.onWait("loss");
    aborted(signal);
    await turn();
    aborted(signal);
    const sums = values.map((one) => new Float64Array(one.length));
    const losses = new Float64Array(items.length);
    let rowsComputed = classes;
    for (const [i, prepared] of items.entries()) {
      const item = this.#prepared.get(prepared);
      if (item === undefined) throw new Error("the item is not prepared");
      losses[i] = addItem(item, values, sums, scale / item.classes.length);
      rowsComputed += item.classes.length;
    }
    return { losses, gradients: gradient ? sums.map((one) => Float32Array.from(one)) : [], rowsComputed };
  }
}

/**
 * The item's summed loss; adds `scale` times its gradient to `sums`.
 * @param {Item} item @param {readonly Float32Array[]} values @param {Float64Array[]} sums @param {number} scale
 */
function addItem(item, [weights, bias], [dWeights, dBias], scale) {
  let loss = 0;
  for (const [i, context] of item.contexts.entries()) {
    const logits = Array.from({ length: classes }, (_, y) => weights[y * contexts + context] + bias[y]);
    const most = Math.max(...logits);
    const powers = logits.map((one) => Math.exp(one - most));
    const total = powers.reduce((sum, one) => sum + one, 0);
    loss += most + Math.log(total) - logits[item.classes[i]];
    for (let y = 0; y < classes; y++) {
      const d = scale * (powers[y] / total - (y === item.classes[i] ? 1 : 0));
      dWeights[y * contexts + context] += d;
      dBias[y] += d;
    }
  }
  return loss;
}
