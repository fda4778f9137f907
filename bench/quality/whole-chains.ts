// SPDX-License-Identifier: Apache-2.0
// Whole chains on the dev items: every stage reads what the one before it really wrote. What a chain costs is counted
// from its events, beside what its outputs are worth.
import type { Chain, ChainEvent } from "../../src/index.js";
import type { Bench } from "./bench.js";
import type { Cost, ItemScores } from "./contract.js";

type AnyChain = Chain<string, string, string, string>;

/** Texts of all outputs of one run by name, in the order in which they were written. */
export type Outputs = Readonly<Record<string, string>>;

export interface WholeChains<Item> {
  chain: unknown;
  items: readonly Item[];
  inputsOf: (item: Item) => Record<string, string>;
  /** In percent. */
  scoreOf: (item: Item, outputs: Outputs) => { exactMatch: number; f1: number };
  label: string;
}

const runsAtOnce = 4;

interface Ran {
  outputs: Record<string, string>;
  rows: number;
  kvBytes: number;
}

async function runOne(chain: AnyChain, inputs: Record<string, string>, signal: AbortSignal): Promise<Ran> {
  const ran: Ran = { outputs: {}, rows: 0, kvBytes: 0 };
  const run = chain.run(inputs, { signal });
  for await (const event of run as AsyncIterable<ChainEvent>) {
    if (event.type !== "stage-end") continue;
    ran.outputs[event.stage] = event.text;
    ran.rows += event.usage.rowsComputed;
    ran.kvBytes = event.usage.kvBytes;
  }
  await run.result;
  return ran;
}

/** Scores of all items in their order, and the mean cost of one. */
export async function runWholeChains<Item>(
  { init }: Pick<Bench, "init">,
  { chain, items, inputsOf, scoreOf, label }: WholeChains<Item>,
): Promise<{ chain: ItemScores; cost: Cost }> {
  const scores: ItemScores = { exactMatch: new Array(items.length), f1: new Array(items.length) };
  const sum = { rows: 0, kvBytes: 0 };
  const queue = [...items.entries()];
  const began = performance.now();
  const work = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [at, item] = next;
      const { outputs, rows, kvBytes } = await runOne(chain as AnyChain, inputsOf(item), init.signal);
      const { exactMatch, f1 } = scoreOf(item, outputs);
      scores.exactMatch[at] = exactMatch;
      scores.f1[at] = f1;
      sum.rows += rows;
      sum.kvBytes += kvBytes;
      if (queue.length % 10 === 0) init.say(`${label}: ${queue.length} chains left`);
    }
  };
  const workers = await Promise.allSettled(Array.from({ length: runsAtOnce }, work));
  for (const one of workers) if (one.status === "rejected") throw one.reason;
  const seconds = (performance.now() - began) / 1000;
  const per = (total: number) => total / items.length;
  return { chain: scores, cost: { rows: per(sum.rows), seconds: per(seconds), kvBytes: per(sum.kvBytes) } };
}
