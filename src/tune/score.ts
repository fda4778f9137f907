// SPDX-License-Identifier: Apache-2.0
// Scores of what a chain really writes: every record runs through the whole chain, each stage reading what the one
// before it wrote, under the prompts as they are then. Of a stage that ran several times the last output counts.

import type { ChainDefinition } from "../chain/definition.js";
import { startRun } from "../chain/run.js";
import { withPrompts } from "../chain/with-prompts.js";
import { OptionInvalidError, StepFailedError } from "../errors.js";
import type { PromptSource } from "../model/prompt.js";
import type { DataItem } from "./data.js";
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

export type ScoreFunction = (
  item: GeneratedItem,
) => number | Readonly<Record<string, number>> | Promise<number | Readonly<Record<string, number>>>;

/** "squad": exact match and F1 in percent; or one's own figures, which are averaged over the records. */
export type Score = "squad" | ScoreFunction;

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
  definition: ChainDefinition;
  score: Score;
  /** Sites of the stages whose outputs are scored. */
  labelled: readonly string[];
  dev: readonly DataItem[];
}

/** Means over the dev records under `prompts`, by site. */
export type Scorer = (
  prompts: Readonly<Record<string, PromptSource>>,
  signal: AbortSignal,
) => Promise<Record<string, number>>;

/** Throws OPTION_INVALID, and DATA_INVALID for a record that lacks an input of the chain. */
export async function createScorer({ definition, score, labelled, dev }: Scoring): Promise<Scorer> {
  if (score !== "squad" && typeof score !== "function") {
    throw new OptionInvalidError(
      '`score` must be "squad" or a function of a record and what the chain wrote for it.',
      {
        facts: { option: "score", value: String(score) },
      },
    );
  }
  if (dev.length === 0) {
    throw new OptionInvalidError(
      "`score` needs dev data to generate for. Give `dev`, or leave `score` out.",
      {
        facts: { option: "score", value: String(score) },
      },
    );
  }
  const inputs = definition.steps.filter((step) => step.given).map((step) => step.name);
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
  const measure = score === "squad" ? squad(labelled) : score;
  return async (prompts, signal) => {
    const prompted = { ...definition, steps: withPrompts(definition.steps, prompts) };
    const all: Readonly<Record<string, number>>[] = new Array(dev.length);
    const queue = [...dev.entries()];
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const work = async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const [at, item] = next;
        all[at] = await measureItem(await generate(prompted, inputs, item, either), measure);
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
  };
}

async function generate(
  definition: ChainDefinition,
  inputs: readonly string[],
  item: DataItem,
  signal: AbortSignal,
): Promise<GeneratedItem> {
  const { texts } = await item.read();
  const given = Object.fromEntries(inputs.map((name) => [name, texts.get(name) ?? ""]));
  const run = startRun<string, unknown>({ ...definition, inputs: given }, { signal });
  const outputs: Record<string, string> = {};
  for await (const event of run) {
    if (event.type === "stage-end") outputs[event.stage] = event.text;
  }
  await run.result;
  return { origin: item.origin.label, outputs, gold: Object.fromEntries(texts) };
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
