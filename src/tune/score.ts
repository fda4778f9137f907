// SPDX-License-Identifier: Apache-2.0
// Scores of what a chain really writes: every record runs through the whole chain, each stage reading what the one
// before it wrote, under the prompts as they are then; or each scored stage writes behind the gold texts of the record.
// Of a stage that ran several times the last output counts.

import type { ChainDefinition } from "../chain/definition.js";
import { sitesOf } from "../chain/names.js";
import { startRun } from "../chain/run.js";
import { withPrompts } from "../chain/with-prompts.js";
import { OptionInvalidError, PromptInvalidError, StepFailedError } from "../errors.js";
import type { PromptSource } from "../model/prompt.js";
import type { ChainTask } from "./chain-task.js";
import type { DataItem } from "./data.js";
import { GoldWriter } from "./gold-writer.js";
import { exactMatch, f1Score } from "./metrics.js";
import { dataInvalid } from "./record.js";

/** One record and what the chain made of it; outputs by their names: "answer", "debate[1].reason". */
export interface GeneratedItem {
  /** Where the record comes from: "dev.jsonl:17". */
  origin: string;
  outputs: Readonly<Record<string, string>>;
  /** Texts that the record gives: inputs and outputs. */
  gold: Readonly<Record<string, string>>;
}

/** Called for each record when its outputs are there: several are generated at once, so in no order of its own. */
export type ScoreFunction = (
  item: GeneratedItem,
) => number | Readonly<Record<string, number>> | Promise<number | Readonly<Record<string, number>>>;

/** "squad": exact match and F1 in percent; or one's own figures, which are averaged over the records. */
export type Score = "squad" | ScoreFunction;

/** What scored stages read: what the chain wrote for the record, or the record's gold texts. */
export type ScoreFrom = "chain" | "gold";

const runsAtOnce = 4;

/** "debate[1].reason" -> "debate.reason" */
const siteOf = (name: string): string => name.replace(/\[\d+\]/g, "");

function lastOf(texts: Readonly<Record<string, string>>, site: string): string | undefined {
  return Object.entries(texts).findLast(([name]) => siteOf(name) === site)?.[1];
}

function squad(labelled: readonly string[]): ScoreFunction {
  return ({ outputs, gold }) => {
    const scores: Record<string, number> = {};
    for (const site of labelled) {
      const expected = lastOf(gold, site);
      if (expected === undefined) continue;
      const prediction = lastOf(outputs, site) ?? "";
      const prefix = labelled.length === 1 ? "" : `${site}.`;
      scores[`${prefix}exactMatch`] = 100 * exactMatch(prediction, expected);
      scores[`${prefix}f1`] = 100 * f1Score(prediction, expected);
    }
    return scores;
  };
}

export interface Scoring {
  task: ChainTask;
  score: Score;
  scoreFrom: ScoreFrom;
  /** Sites of the stages whose outputs are scored. */
  labelled: readonly string[];
  dev: readonly DataItem[];
}

/** Means over the dev records under `prompts`, by site; `onScored` hears how many records are done. */
export type Scorer = (
  prompts: Readonly<Record<string, PromptSource>>,
  signal: AbortSignal,
  onScored?: (done: number) => void,
) => Promise<Record<string, number>>;

/** Writes a record's outputs, by name. */
type Write = (item: DataItem, signal: AbortSignal) => Promise<Record<string, string>>;

function optionInvalid(option: string, value: unknown, message: string): OptionInvalidError {
  return new OptionInvalidError(message, { facts: { option, value: String(value) } });
}

/** Throws OPTION_INVALID, PROMPT_INVALID, and DATA_INVALID for a record that lacks an input of the chain. */
export async function createScorer({ task, score, scoreFrom, labelled, dev }: Scoring): Promise<Scorer> {
  if (score !== "squad" && typeof score !== "function") {
    const message = '`score` must be "squad" or a function of a record and what the chain wrote for it.';
    throw optionInvalid("score", score, message);
  }
  if (scoreFrom !== "chain" && scoreFrom !== "gold") {
    const message =
      '`scoreFrom` must be "chain", for outputs of whole chains, or "gold", for outputs behind gold texts.';
    throw optionInvalid("scoreFrom", scoreFrom, message);
  }
  if (dev.length === 0) {
    const message = "`score` needs dev data to generate for. Give `dev`, or leave `score` out.";
    throw optionInvalid("score", score, message);
  }
  const measure = score === "squad" ? squad(labelled) : score;
  const measureAll = (write: Write, signal: AbortSignal, onScored: (done: number) => void = () => {}) => {
    const scoreOf = async (item: DataItem, stop: AbortSignal) =>
      measureItem(await generated(item, await write(item, stop)), measure);
    return scoreItems(dev, scoreOf, signal, onScored);
  };
  if (scoreFrom === "gold") {
    return async (prompts, signal, onScored) => {
      const writer = await GoldWriter.open(task, prompts);
      try {
        return await measureAll((item, stop) => writer.write(item, stop), signal, onScored);
      } finally {
        writer.close();
      }
    };
  }
  const { definition } = task;
  await checkPrompts(task);
  const inputs = await checkInputs(definition, dev);
  return (prompts, signal, onScored) => {
    const prompted = { ...definition, steps: withPrompts(definition.steps, prompts) };
    return measureAll((item, stop) => runChain(prompted, inputs, item, stop), signal, onScored);
  };
}

/** A run of the whole chain needs prompts that training does without. Throws what loading them throws. */
async function checkPrompts({ definition: { model, steps }, parameters }: ChainTask): Promise<void> {
  const others = [...sitesOf(steps)].filter(({ site }) => parameters.every(({ stage }) => stage !== site));
  for (const { step } of others) {
    await step.loadPrompt?.(model).catch((error: unknown) => {
      if (!PromptInvalidError.isInstance(error)) throw error;
      const message = `${error.message} Scores of what the whole chain writes need it, those behind gold texts may not (\`scoreFrom\`).`;
      throw new PromptInvalidError(message, { facts: { ...error.facts, option: "score" }, cause: error });
    });
  }
}

/** Names of the chain's inputs. Throws DATA_INVALID for a record that lacks one. */
async function checkInputs({ steps }: ChainDefinition, dev: readonly DataItem[]): Promise<string[]> {
  const inputs = steps.filter((step) => step.given).map((step) => step.name);
  for (const item of dev) {
    const { texts, fields } = await item.read();
    const missing = inputs.find((name) => (texts.get(name) ?? "") === "");
    if (missing === undefined) continue;
    const field = fields.get(missing) ?? missing;
    throw dataInvalid(
      item.origin,
      field,
      "is missing or empty",
      "The chain needs it to generate; give its text.",
    );
  }
  return inputs;
}

/** Means of what `scoreOf` finds, some items at once; `onScored` hears how many are done. */
async function scoreItems(
  dev: readonly DataItem[],
  scoreOf: (item: DataItem, signal: AbortSignal) => Promise<Readonly<Record<string, number>>>,
  signal: AbortSignal,
  onScored: (done: number) => void,
): Promise<Record<string, number>> {
  let done = 0;
  const all: Readonly<Record<string, number>>[] = new Array(dev.length);
  const queue = [...dev.entries()];
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const work = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [at, item] = next;
      all[at] = await scoreOf(item, either);
      done += 1;
      onScored(done);
    }
  };
  await Promise.allSettled(
    Array.from({ length: runsAtOnce }, () =>
      work().catch((error: unknown) => {
        failed.abort(error); // the other runs stop, and nothing goes on when this rejects
        throw error;
      }),
    ),
  );
  signal.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason;
  return means(all);
}

async function generated(item: DataItem, outputs: Record<string, string>): Promise<GeneratedItem> {
  const { texts } = await item.read();
  return { origin: item.origin.label, outputs, gold: Object.fromEntries(texts) };
}

async function runChain(
  definition: ChainDefinition,
  inputs: readonly string[],
  item: DataItem,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const { texts } = await item.read();
  const given = Object.fromEntries(inputs.map((name) => [name, texts.get(name) ?? ""]));
  const run = startRun<string, unknown>({ ...definition, inputs: given }, { signal });
  const outputs: Record<string, string> = {};
  for await (const event of run) {
    if (event.type === "stage-end") outputs[event.stage] = event.text;
  }
  await run.result;
  return outputs;
}

async function measureItem(
  item: GeneratedItem,
  measure: ScoreFunction,
): Promise<Readonly<Record<string, number>>> {
  const fail = (what: string, cause?: unknown) =>
    new StepFailedError(`The \`score\` function ${what} for ${item.origin}. Mend the function.`, {
      facts: { option: "score", origin: item.origin },
      cause,
    });
  let found: number | Readonly<Record<string, number>>;
  try {
    found = await measure(item);
  } catch (cause) {
    throw fail(`threw ${String(cause)}`, cause);
  }
  const scores = typeof found === "number" ? { score: found } : found;
  if (typeof scores !== "object" || scores === null) throw fail(`returned ${String(found)}, no number`);
  for (const [name, value] of Object.entries(scores)) {
    if (!Number.isFinite(value)) throw fail(`returned ${String(value)} as "${name}"`);
  }
  return scores;
}

/** By name, over the items that have it. */
function means(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums = new Map<string, { sum: number; count: number }>();
  for (const [name, value] of all.flatMap((one) => Object.entries(one))) {
    const { sum, count } = sums.get(name) ?? { sum: 0, count: 0 };
    sums.set(name, { sum: sum + value, count: count + 1 });
  }
  return Object.fromEntries([...sums].map(([name, { sum, count }]) => [name, sum / count]));
}
