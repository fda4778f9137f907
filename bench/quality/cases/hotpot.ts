// SPDX-License-Identifier: Apache-2.0
// compress -> answer on HotpotQA: what it costs in quality when the answer stage reads the compressor's KV instead of its
// text. The passages are shared inputs, so that of the compressor only prompt and evidence are live; it is tuned once, on
// gold evidence, and is the same in every variant: what is compared is the hand-over.
import type { Bench, Model } from "../bench.js";
import type { Measured, QualityCase, Variant } from "../contract.js";
import type { HotpotRecord } from "../data.js";
import { hotpotFacts, hotpotRecords, withOtherEvidence } from "../data.js";
import type { Training } from "../train.js";
import { measurePrompts, measureTraining } from "../train.js";
import { runWholeChains } from "../whole-chains.js";

const id = "hotpot";
const virtualTokens = 50;
const gibibyte = 2 ** 30;
const modelOptions = { cacheBytes: 4 * gibibyte, indexBytes: 0 } as const;
const texts = {
  compress: "Extract from the passages the evidence that is needed to answer the question. ",
  answer: "Answer the question with a short phrase, using the evidence. ",
};

const training = { learningRate: 1e-2, schedule: "cosine", warmup: 0.05, epochs: 4, keep: "best" } as const;

/**
 * Of the answer the best of four settings by the dev loss of `shared` with seed 1: 2.55 with batches of 4, 2.62 with
 * batches of 8, 2.63 with those and a learning rate of 3e-2, 2.63 with batches of 4 and 3e-3.
 */
const batchSizes = { compress: 8, answer: 4 } as const;

const settings = {
  optimiser: "AdamW, betas 0.9 and 0.999, no decay, gradients clipped to length 1",
  learningRate: training.learningRate,
  schedule: "cosine to 0 after 5 % warm-up",
  batchSize: batchSizes.answer,
  epochs: training.epochs,
  kept: "the epoch of the lowest dev loss",
  virtualTokens,
  activations: "int8",
  kvType: "f16",
};

const compress = { opener: "Evidence:", maxTokens: 160 } as const;
const answer = { opener: "Answer:", maxTokens: 24 } as const;
const questionFormat = "Question: {question}\n";
const passagesFormat = "Passages:\n{passages}\n";

type Prompt = string | undefined;
const promptOf = (prompt: Prompt) => (prompt === undefined ? {} : { prompt });

/** The answer reads question and evidence as compress wrote it. `alone`: the passages do not read the question. */
export function sharedChain(
  { defineChain }: Bench["library"],
  model: Model,
  prompts: { compress?: Prompt; answer?: Prompt },
  alone = false,
) {
  return defineChain(model)
    .input("question", { format: questionFormat })
    .input("passages", { format: passagesFormat, ...(alone ? { alone } : {}) })
    .stage("compress", { ...compress, ...promptOf(prompts.compress), reads: ["question", "passages"] })
    .stage("answer", { ...answer, ...promptOf(prompts.answer), reads: ["question", "compress"] });
}

/** The same compressor; the answer reads question and evidence again, as texts under its own prompt. */
export function recomputeChain(
  { defineChain }: Bench["library"],
  model: Model,
  prompts: { compress?: Prompt; answer?: Prompt },
) {
  return defineChain(model)
    .input("question", { format: questionFormat })
    .input("passages", { format: passagesFormat })
    .stage("compress", { ...compress, ...promptOf(prompts.compress), reads: ["question", "passages"] })
    .input("questionAgain", { from: ({ question }) => question.text, format: "Question: {questionAgain}\n" })
    .input("evidence", { from: (results) => results.compress.text || " ", format: "Evidence: {evidence}" })
    .stage("answer", {
      ...answer,
      ...promptOf(prompts.answer),
      own: ["questionAgain", "evidence"],
      reads: [],
    });
}

/** The answer reads the question, and the evidence of another item, written behind that item's texts. */
function otherEvidenceChain({ defineChain }: Bench["library"], model: Model, prompt: string) {
  return defineChain(model)
    .input("otherQuestion", { format: "Question: {otherQuestion}\n" })
    .input("passages", { format: passagesFormat })
    .stage("compress", { ...compress, prompt, reads: ["otherQuestion", "passages"] })
    .input("question", { format: questionFormat, reads: [] })
    .stage("answer", { ...answer, reads: ["question", "compress"] });
}

function noEvidenceChain({ defineChain }: Bench["library"], model: Model) {
  return defineChain(model)
    .input("question", { format: questionFormat })
    .stage("answer", { ...answer, reads: ["question"] });
}

const labelOf = (variant: string, seed: number) => `${id}/${variant}, seed ${seed}`;
const compressor = (bench: Bench) => bench.tunedPrompt(id, "compress", 1, "compress");

function trainingOf(bench: Bench, variant: string, seed: number, stage: "compress" | "answer", init: object) {
  const { data } = bench.init;
  return {
    scored: stage,
    label: labelOf(variant, seed),
    output: bench.outputFolder(id, variant, seed),
    options: {
      ...training,
      batchSize: batchSizes[stage],
      stages: { [stage]: { virtualTokens, init } },
      data: hotpotRecords(data, "train"),
      dev: hotpotRecords(data, "dev"),
      seed,
      frozenBytes: gibibyte,
      frozenDiskBytes: 12 * gibibyte,
    } as Training["options"],
  };
}

async function wholeChains(bench: Bench, chain: unknown, label: string) {
  const { exactMatch, f1Score } = bench.library;
  return runWholeChains<HotpotRecord>(bench, {
    chain,
    items: hotpotRecords(bench.init.data, "dev"),
    inputsOf: ({ question, passages }) => ({ question, passages }),
    scoreOf: ({ answer: gold }, outputs) => ({
      exactMatch: 100 * exactMatch(outputs.answer ?? "", gold),
      f1: 100 * f1Score(outputs.answer ?? "", gold),
    }),
    label,
  });
}

async function measureBase(bench: Bench): Promise<Measured> {
  const chain = sharedChain(bench.library, await bench.model(modelOptions), {});
  const plain = { activations: settings.activations, kvType: settings.kvType };
  return {
    settings: plain,
    evaluations: [],
    kept: 0,
    ...(await wholeChains(bench, chain, labelOf("base", 1))),
  };
}

async function measureCompress(bench: Bench, variant: string, alone: boolean): Promise<Measured> {
  const chain = sharedChain(bench.library, await bench.model(modelOptions), {}, alone);
  const run = trainingOf(bench, variant, 1, "compress", { text: texts.compress });
  const measured = await measureTraining(bench, { ...run, chain });
  return { ...measured, settings: { ...settings, batchSize: batchSizes.compress } };
}

async function measureAnswer(bench: Bench, variant: "shared" | "recompute", seed: number): Promise<Measured> {
  const model = await bench.model(modelOptions);
  const chainOf = variant === "shared" ? sharedChain : recomputeChain;
  const chain = chainOf(bench.library, model, { compress: compressor(bench) });
  const run = trainingOf(bench, variant, seed, "answer", { text: texts.answer });
  const measured = await measureTraining(bench, { ...run, chain });
  const tuned = { compress: compressor(bench), answer: bench.tunedPrompt(id, variant, seed, "answer") };
  const whole = await wholeChains(bench, chainOf(bench.library, model, tuned), run.label);
  return { ...measured, settings, ...whole };
}

async function measureNaive(bench: Bench, seed: number): Promise<Measured> {
  const model = await bench.model(modelOptions);
  const tuned = { compress: compressor(bench), answer: bench.tunedPrompt(id, "recompute", seed, "answer") };
  const run = trainingOf(bench, "naive", seed, "answer", { checkpoint: tuned.answer });
  const chain = sharedChain(bench.library, model, { compress: tuned.compress });
  const measured = await measurePrompts(bench, { ...run, chain });
  const whole = await wholeChains(bench, sharedChain(bench.library, model, tuned), run.label);
  return { ...measured, settings, ...whole };
}

/** The tuned prompt of `shared` with less, or other, to read. */
async function measureAblation(bench: Bench, variant: string, seed: number): Promise<Measured> {
  const model = await bench.model(modelOptions);
  const checkpoint = bench.tunedPrompt(id, "shared", seed, "answer");
  const run = trainingOf(bench, variant, seed, "answer", { checkpoint });
  const isOther = variant === "other-evidence";
  const chain = isOther
    ? otherEvidenceChain(bench.library, model, compressor(bench))
    : noEvidenceChain(bench.library, model);
  const dev = hotpotRecords(bench.init.data, "dev");
  const records = isOther ? withOtherEvidence(dev) : dev;
  const measured = await measurePrompts(bench, { ...run, chain, options: { ...run.options, dev: records } });
  return { ...measured, settings };
}

const variants: readonly Variant[] = [
  { name: "base", about: "no prompts at all, KV shared", once: true, measure: measureBase },
  {
    name: "compress",
    about: "the compressor of all variants below, tuned on gold evidence; passages read the question",
    once: true,
    measure: (bench) => measureCompress(bench, "compress", false),
  },
  {
    name: "shared",
    about: "the answer prompt is tuned while it reads the compressor's KV",
    needs: ["compress"],
    measure: (bench, seed) => measureAnswer(bench, "shared", seed),
  },
  {
    name: "recompute",
    about: "the answer prompt is tuned on question and evidence read again under it",
    needs: ["compress"],
    measure: (bench, seed) => measureAnswer(bench, "recompute", seed),
  },
  {
    name: "naive",
    about: "the answer prompt of recompute, reading the compressor's KV",
    needs: ["compress", "recompute"],
    measure: measureNaive,
  },
  ...["no-evidence", "other-evidence"].map(
    (name): Variant => ({
      name,
      about: `the answer prompt of shared, ${name === "no-evidence" ? "reading the question alone" : "reading the KV of another item's evidence"}`,
      needs: ["compress", "shared"],
      measure: (bench, seed) => measureAblation(bench, name, seed),
    }),
  ),
  {
    name: "compress-alone",
    about:
      "as compress, but the passages do not read the question: their KV is found again for every question",
    once: true,
    measure: (bench) => measureCompress(bench, "compress-alone", true),
  },
];

export const hotpot: QualityCase = {
  id,
  title: "compress, then answer (HotpotQA)",
  facts: hotpotFacts,
  variants,
};
