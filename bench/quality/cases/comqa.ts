// SPDX-License-Identifier: Apache-2.0
// recall <-> reason on CommonsenseQA: two roles take turns, each reads the question and everything written before. Both
// prompts are tuned jointly while each reads the other's KV, or each by itself on texts that are read again under it. No
// row stands for a marker token: the roles open with a newline, so that no embedding has to be trained.
import type { PromptInit } from "../../../src/index.js";
import type { Bench, Model } from "../bench.js";
import type { Evaluation, Measured, QualityCase } from "../contract.js";
import { comqaFacts, comqaRecords } from "../data.js";
import type { Training } from "../train.js";
import { measurePrompts, measureTraining } from "../train.js";
import { runWholeChains } from "../whole-chains.js";
import type { ComqaItem, TurnRecord } from "./comqa-turns.js";
import { answerOf, askedAgain, lastReason, soFar, turnRecords } from "./comqa-turns.js";

const id = "comqa";
/** Of 240: a run should take minutes on two cores. */
const trainItems = 120;
const virtualTokens = 50;
const gibibyte = 2 ** 30;
const modelOptions = { cacheBytes: gibibyte, indexBytes: 0 } as const;
const texts = {
  reason: "Reason step by step with the knowledge recalled so far and choose one of the options. ",
  recall: "Recall the knowledge that is needed to answer the question. ",
};
/** Chains of the data take up to six rounds, most of them two; those that are run take two at most. */
const mostRounds = { training: 6, running: 2 };

const training = { learningRate: 1e-2, schedule: "cosine", warmup: 0.05, epochs: 3, keep: "best" } as const;
const itemsPerStep = 8;

const settings = {
  trainItems,
  optimiser: "AdamW, betas 0.9 and 0.999, no decay, gradients clipped to length 1",
  learningRate: training.learningRate,
  schedule: "cosine to 0 after 5 % warm-up",
  batchSize: itemsPerStep,
  epochs: training.epochs,
  kept: "the epoch of the lowest dev loss",
  virtualTokens,
  activations: "int8",
  kvType: "f16",
};

const stage = { opener: "\n", maxTokens: 128 } as const;

/** Every turn reads the question and all earlier turns where they are. */
export function sharedChain({ defineChain }: Bench["library"], model: Model, max: number) {
  return defineChain(model)
    .input("question")
    .rounds(
      "turns",
      (round) =>
        round.stage("reason", stage).when(
          "lookup",
          ({ reason }, { round: at }) => at < max - 1 && askedAgain(reason.text),
          (inside) => inside.stage("recall", stage),
        ),
      { max, until: ({ reason }) => !askedAgain(reason.text) },
    );
}

/** Every turn reads the question and all earlier turns again, as texts under its own prompt. */
export function recomputeChain({ defineChain }: Bench["library"], model: Model, max: number) {
  return defineChain(model)
    .input("question")
    .rounds(
      "turns",
      (round) =>
        round
          .input("before", { from: ({ question, turns }) => soFar(question.text, turns.rounds) })
          .stage("reason", { ...stage, own: ["before"], reads: [] })
          .when(
            "lookup",
            ({ reason }, { round: at }) => at < max - 1 && askedAgain(reason.text),
            (inside) =>
              inside
                .input("context", {
                  from: ({ question, turns, reason }) => soFar(question.text, turns.rounds, reason.text),
                })
                .stage("recall", { ...stage, own: ["context"], reads: [] }),
          ),
      { max, until: ({ reason }) => !askedAgain(reason.text) },
    );
}

/** One role by itself, on texts. */
function roleChain({ defineChain }: Bench["library"], model: Model) {
  return defineChain(model)
    .input("before")
    .stage("turn", { ...stage, own: ["before"] });
}

const labelOf = (variant: string, seed: number) => `${id}/${variant}, seed ${seed}`;
const sites = { reason: "turns.reason", recall: "turns.lookup.recall" } as const;
type Role = keyof typeof sites;

const wholeChains = (bench: Bench, chain: unknown, label: string) =>
  runWholeChains<ComqaItem>(bench, {
    chain,
    items: comqaRecords(bench.init.data, "dev"),
    inputsOf: ({ question }) => ({ question }),
    scoreOf: ({ answer, rounds }, outputs) => {
      const last = Object.entries(outputs).findLast(([name]) => name.endsWith("reason"))?.[1] ?? "";
      return {
        exactMatch: answerOf(last) === answer ? 100 : 0,
        f1: 100 * bench.library.f1Score(last, lastReason(rounds)),
      };
    },
    label,
  });

const trainSet = (bench: Bench) => comqaRecords(bench.init.data, "train").slice(0, trainItems);

/** Folders of the prompts that a run has left, by role. */
function promptsOf(bench: Bench, variant: string, seed: number): Record<Role, string> {
  const folder = (role: Role) =>
    bench.tunedPrompt(id, variant, seed, variant === "shared" ? sites[role] : `${role}/turn`);
  return { reason: folder("reason"), recall: folder("recall") };
}

const bySite = ({ reason, recall }: Record<Role, string>) => ({
  "turns.reason": reason,
  "turns.lookup.recall": recall,
});

async function measureBase(bench: Bench): Promise<Measured> {
  const chain = sharedChain(bench.library, await bench.model(modelOptions), mostRounds.running);
  const plain = { activations: settings.activations, kvType: settings.kvType };
  return {
    settings: plain,
    evaluations: [],
    kept: 0,
    ...(await wholeChains(bench, chain, labelOf("base", 1))),
  };
}

function jointOptions(bench: Bench, seed: number, init: (role: Role) => PromptInit): Training["options"] {
  return {
    ...training,
    batchSize: itemsPerStep,
    stages: {
      [sites.reason]: { virtualTokens, init: init("reason") },
      [sites.recall]: { virtualTokens, init: init("recall") },
    },
    fields: { rounds: "turns" },
    data: trainSet(bench),
    dev: comqaRecords(bench.init.data, "dev"),
    seed,
  };
}

async function measureShared(bench: Bench, seed: number): Promise<Measured> {
  const model = await bench.model(modelOptions);
  const label = labelOf("shared", seed);
  const measured = await measureTraining(bench, {
    chain: sharedChain(bench.library, model, mostRounds.training),
    scored: null,
    output: bench.outputFolder(id, "shared", seed),
    label,
    options: jointOptions(bench, seed, (role) => ({ text: texts[role] })),
  });
  const running = sharedChain(bench.library, model, mostRounds.running);
  const whole = await wholeChains(
    bench,
    running.withPrompts(bySite(promptsOf(bench, "shared", seed))),
    label,
  );
  return { ...measured, settings, ...whole };
}

/** Each role on its turns alone; as many steps as the joint training has. */
async function trainRole(bench: Bench, role: Role, seed: number): Promise<Measured & { labels: number }> {
  const model = await bench.model(modelOptions);
  const data = turnRecords(trainSet(bench), role);
  const dev = turnRecords(comqaRecords(bench.init.data, "dev"), role);
  const steps = Math.ceil(trainItems / itemsPerStep);
  const measured = await measureTraining(bench, {
    chain: roleChain(bench.library, model),
    scored: null,
    output: `${bench.outputFolder(id, "recompute", seed)}/${role}`,
    label: `${labelOf("recompute", seed)}, ${role}`,
    options: {
      ...training,
      batchSize: Math.ceil(data.length / steps),
      stages: { turn: { virtualTokens, init: { text: texts[role] } } },
      data,
      dev,
      seed,
    },
  });
  const rowsOf = ({ turn }: TurnRecord) => model.tokenizer.encode(` ${turn}`, { specials: false }).length + 1;
  return { ...measured, labels: dev.reduce((sum, one) => sum + rowsOf(one), 0) };
}

async function measureRecompute(bench: Bench, seed: number): Promise<Measured> {
  const reason = await trainRole(bench, "reason", seed);
  const recall = await trainRole(bench, "recall", seed);
  const labels = reason.labels + recall.labels;
  const both = (of: (one: Measured) => number) => of(reason) + of(recall);
  const evaluations = reason.evaluations.map(({ epoch, devLoss }, at): Evaluation => {
    const other = recall.evaluations[at]?.devLoss ?? Number.NaN;
    return { epoch, devLoss: (devLoss * reason.labels + other * recall.labels) / labels };
  });
  const model = await bench.model(modelOptions);
  const running = recomputeChain(bench.library, model, mostRounds.running);
  const prompted = running.withPrompts(bySite(promptsOf(bench, "recompute", seed)));
  return {
    settings,
    evaluations,
    kept: Math.max(reason.kept, recall.kept),
    rows: { live: both(({ rows }) => rows?.live ?? 0), frozen: both(({ rows }) => rows?.frozen ?? 0) },
    trainSeconds: both(({ trainSeconds }) => trainSeconds ?? 0),
    ...(await wholeChains(bench, prompted, labelOf("recompute", seed))),
  };
}

async function measureNaive(bench: Bench, seed: number): Promise<Measured> {
  const model = await bench.model(modelOptions);
  const prompts = promptsOf(bench, "recompute", seed);
  const label = labelOf("naive", seed);
  const measured = await measurePrompts(bench, {
    chain: sharedChain(bench.library, model, mostRounds.training),
    scored: null,
    label,
    options: jointOptions(bench, seed, (role) => ({ checkpoint: prompts[role] })),
  });
  const running = sharedChain(bench.library, model, mostRounds.running).withPrompts(bySite(prompts));
  return { ...measured, settings, ...(await wholeChains(bench, running, label)) };
}

export const comqa: QualityCase = {
  id,
  title: "recall and reason in turns (CommonsenseQA)",
  facts: comqaFacts,
  variants: [
    { name: "base", about: "no prompts at all, KV shared", once: true, measure: measureBase },
    {
      name: "shared",
      about: "both prompts are tuned jointly, each reading the other's KV",
      measure: measureShared,
    },
    {
      name: "recompute",
      about: "each prompt is tuned on question and earlier turns read again under it",
      measure: measureRecompute,
    },
    {
      name: "naive",
      about: "the prompts of recompute, each reading the other's KV",
      needs: ["recompute"],
      measure: measureNaive,
    },
  ],
};
