// SPDX-License-Identifier: Apache-2.0
// One training run through tune() as users call it, and the same evaluation of prompts as they are. Outputs are scored
// behind gold texts, item by item, so that runs can be compared item by item.
import path from "node:path";
import type { Chain, GeneratedItem, TuneOptions, TuneStep } from "../../src/index.js";
import type { Bench } from "./bench.js";
import type { Evaluation, ItemScores, Measured } from "./contract.js";

type AnyChain = Chain<string, string, string, string>;

/** What of a bench a run needs. */
export type TrainingBench = Pick<Bench, "library" | "init" | "frozenFolder">;

export interface Training {
  chain: unknown;
  /** The stage whose output is scored; null: none is. */
  scored: string | null;
  /** Where the prompts go: a folder per stage. */
  output: string;
  /** "hotpot/shared, seed 1" */
  label: string;
  options: TuneOptions;
}

/** Scores of every dev item at each evaluation, in the data's order whatever the order in which they come. */
class ItemTable {
  readonly #count: number;
  readonly #all: { index: number; exactMatch: number; f1: number }[] = [];

  constructor(count: number) {
    this.#count = count;
  }

  add(origin: string, exactMatch: number, f1: number): void {
    const index = Number(/\[(\d+)\]$/.exec(origin)?.[1]);
    if (!Number.isInteger(index)) throw new Error(`"${origin}" is no item of a list`);
    this.#all.push({ index, exactMatch, f1 });
  }

  /** Of the evaluation counted from 0. */
  at(evaluation: number): ItemScores {
    const from = evaluation * this.#count;
    const part = this.#all.slice(from, from + this.#count).sort((a, b) => a.index - b.index);
    if (part.length < this.#count) throw new Error(`evaluation ${evaluation} has ${part.length} scores`);
    return { exactMatch: part.map((one) => one.exactMatch), f1: part.map((one) => one.f1) };
  }
}

function scoring(bench: TrainingBench, site: string | null, items: ItemTable): Partial<TuneOptions> {
  if (site === null) return {};
  const { exactMatch, f1Score } = bench.library;
  const score = ({ origin, outputs, gold }: GeneratedItem) => {
    const [written, wanted] = [outputs[site] ?? "", gold[site] ?? ""];
    const scores = { exactMatch: 100 * exactMatch(written, wanted), f1: 100 * f1Score(written, wanted) };
    items.add(origin, scores.exactMatch, scores.f1);
    return scores;
  };
  return { score, scoreFrom: "gold" };
}

function evaluationOf({
  epoch,
  devLoss,
  scores,
}: {
  epoch: number;
  devLoss: number;
  scores: object;
}): Evaluation {
  return { epoch, devLoss, ...scores };
}

const round = (value: number) => value.toFixed(4);

function tell(bench: TrainingBench, label: string, step: TuneStep): void {
  const { before, evaluation } = step;
  for (const one of [before, evaluation]) {
    if (one === undefined) continue;
    const scores = Object.entries(one.scores).map(([name, value]) => `, ${name} ${value.toFixed(1)}`);
    bench.init.say(`${label}: epoch ${one.epoch}, dev loss ${round(one.devLoss)}${scores.join("")}`);
  }
  if (step.step % 10 !== 0) return;
  const left = Math.round(step.secondsLeft);
  bench.init.say(`${label}: step ${step.step}/${step.steps}, loss ${round(step.loss)}, ${left} s left`);
}

/** `dev` of the options must be a list. */
export async function measureTraining(bench: TrainingBench, training: Training): Promise<Measured> {
  const { chain, scored, output, label, options } = training;
  const { dev } = options;
  if (!Array.isArray(dev)) throw new Error("dev must be a list");
  const items = new ItemTable(dev.length);
  const stages = Object.keys(options.stages);
  const began = performance.now();
  const run = bench.library.tune(chain as AnyChain, {
    ...options,
    ...scoring(bench, scored, items),
    frozenFolder: bench.frozenFolder,
    output: stages.length === 1 ? path.join(output, stages[0] as string) : output,
    signal: bench.init.signal,
  });
  for await (const step of run) tell(bench, label, step);
  const { evaluations, steps, step: keptStep } = await run.result;
  const kept = evaluations.findIndex(({ step }) => step === keptStep);
  const ofFirstEpoch = steps.filter(({ epoch }) => epoch <= 1);
  const sum = (of: (step: TuneStep) => number) => ofFirstEpoch.reduce((total, one) => total + of(one), 0);
  return {
    settings: {},
    evaluations: evaluations.map(evaluationOf),
    kept: evaluations[kept]?.epoch ?? 0,
    ...(scored === null ? {} : { gold: items.at(kept) }),
    losses: steps.map(({ loss }) => Number(loss.toFixed(4))),
    rows: { live: sum(({ rows }) => rows.live), frozen: sum(({ rows }) => rows.frozen) },
    trainSeconds: (performance.now() - began) / 1000,
  };
}

/** The evaluation before the first step: of prompts as they are. The step that comes with it is thrown away. */
export async function measurePrompts(
  bench: TrainingBench,
  { chain, scored, label, options }: Omit<Training, "output">,
): Promise<Measured> {
  const { dev } = options;
  if (!Array.isArray(dev)) throw new Error("dev must be a list");
  const items = new ItemTable(dev.length);
  const run = bench.library.tune(chain as AnyChain, {
    ...options,
    ...scoring(bench, scored, items),
    data: [...dev, dev[0]], // two at least: at the end of an epoch there would be an evaluation more
    epochs: 1,
    batchSize: 1,
    frozenFolder: bench.frozenFolder,
    signal: bench.init.signal,
  });
  run.result.catch(() => {}); // leaving the loop ends it
  for await (const step of run) {
    const { before } = step;
    if (before === undefined) throw new Error("no evaluation before the first step");
    tell(bench, label, { ...step, step: 1 });
    return {
      settings: {},
      evaluations: [evaluationOf(before)],
      kept: 0,
      ...(scored === null ? {} : { gold: items.at(0) }),
    };
  }
  throw new Error("no step was made");
}
