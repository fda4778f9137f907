// SPDX-License-Identifier: Apache-2.0
// Agreement with an independent PyTorch implementation of the rules (float32, the Q4_1 weights dequantised): the answer
// stage of compress -> answer, its settings to the letter, so that the losses can be laid beside its losses. Answers are
// written behind gold evidence; the compress prompt is a text that nobody tuned.
import type { Bench, Model } from "../bench.js";
import type { Measured, QualityCase, Variant } from "../contract.js";
import { hotpotFacts, hotpotRecords, withOtherEvidence } from "../data.js";
import { measurePrompts, measureTraining } from "../train.js";

const id = "reference";
const prompts = {
  compress: "Extract from the passages the evidence that is needed to answer the question. ",
  answer: "Answer the question with a short phrase, using the evidence. ",
};
const virtualTokens = 50;
const gibibyte = 2 ** 30;

export const training = {
  learningRate: 1e-2,
  schedule: "linear",
  warmup: 0.03,
  batchSize: 8,
  epochs: 3,
  weightDecay: 0,
  betas: [0.9, 0.999],
  maxGradientNorm: null,
  keep: "last",
} as const;

/** Dev loss before and after each epoch, exact match and F1 before and after, as the other implementation has them. */
export const figures: Record<string, { devLoss: number[]; exactMatch: number[]; f1: number[] }> = {
  shared: { devLoss: [4.162, 2.748, 2.554, 2.511], exactMatch: [0, 11.7], f1: [4.4, 19.4] },
  recompute: { devLoss: [4.02, 2.638, 2.575, 2.522], exactMatch: [0, 13.3], f1: [5.8, 22.3] },
  naive: { devLoss: [3.232], exactMatch: [8.3], f1: [14.4] },
};

/** Largest differences that count as agreement: before training, and of the mean over seeds after it. */
export const tolerances = { before: 0.01, after: 0.08 };

const modelOptions = { activations: "float32", kvType: "f32", cacheBytes: 3 * gibibyte } as const;

const answer = { opener: "Answer:", maxTokens: 24 } as const;

/** The evidence's KV as compress wrote it; the answer reads it right after the question. */
export function sharedChain({ defineChain }: Bench["library"], model: Model) {
  return defineChain(model)
    .input("question", { format: "Question: {question}\n" })
    .input("passages", { format: "Passages:\n{passages}\n" })
    .stage("compress", {
      prompt: { text: prompts.compress, virtualTokens },
      own: ["passages"],
      reads: ["question"],
      opener: "Evidence:",
    })
    .stage("answer", { ...answer, reads: ["question", "compress"] });
}

/** Question and evidence read again under the answer's prompt. */
export function recomputeChain({ defineChain }: Bench["library"], model: Model) {
  return defineChain(model)
    .input("question", { format: "Question: {question}\n" })
    .input("evidence", { format: "Evidence: {evidence}" })
    .stage("answer", { ...answer, own: ["question", "evidence"] });
}

/** What the tuned prompt of shared is worth without evidence. */
function noEvidenceChain({ defineChain }: Bench["library"], model: Model) {
  return defineChain(model)
    .input("question", { format: "Question: {question}\n" })
    .stage("answer", { ...answer, reads: ["question"] });
}

const settings = {
  optimiser: "AdamW, betas 0.9 and 0.999, no decay, no clipping",
  learningRate: training.learningRate,
  schedule: "linear to 0 after 3 % warm-up",
  batchSize: training.batchSize,
  epochs: training.epochs,
  virtualTokens,
  prompt: prompts.answer,
  activations: modelOptions.activations,
  kvType: modelOptions.kvType,
};

/** The question, and the KV of another item's evidence, written behind that item's texts. */
function otherEvidenceChain({ defineChain }: Bench["library"], model: Model) {
  return defineChain(model)
    .input("otherQuestion", { format: "Question: {otherQuestion}\n" })
    .input("passages", { format: "Passages:\n{passages}\n" })
    .stage("compress", {
      prompt: { text: prompts.compress, virtualTokens },
      own: ["passages"],
      reads: ["otherQuestion"],
      opener: "Evidence:",
    })
    .input("question", { format: "Question: {question}\n", reads: [] })
    .stage("answer", { ...answer, reads: ["question", "compress"] });
}

type ChainOf = (library: Bench["library"], model: Model) => unknown;

/** Variants that train, with what they train on. */
const trained: Readonly<Record<string, ChainOf>> = { shared: sharedChain, recompute: recomputeChain };
/** Variants that take a tuned prompt elsewhere. */
const taken: Readonly<Record<string, { from: string; chainOf: ChainOf }>> = {
  naive: { from: "recompute", chainOf: sharedChain },
  "no-evidence": { from: "shared", chainOf: noEvidenceChain },
  "other-evidence": { from: "shared", chainOf: otherEvidenceChain },
};

async function measure(bench: Bench, variant: string, seed: number): Promise<Measured> {
  const model = await bench.model(modelOptions);
  const { data } = bench.init;
  const dev = hotpotRecords(data, "dev");
  const { from, chainOf } = taken[variant] ?? { from: null, chainOf: trained[variant] as ChainOf };
  const init =
    from === null ? { text: prompts.answer } : { checkpoint: bench.tunedPrompt(id, from, seed, "answer") };
  const run = {
    chain: chainOf(bench.library, model),
    scored: "answer",
    label: `${id}/${variant}, seed ${seed}`,
    options: {
      ...training,
      stages: { answer: { virtualTokens, init } },
      data: hotpotRecords(data, "train"),
      dev: variant === "other-evidence" ? withOtherEvidence(dev) : dev,
      seed,
      frozenBytes: 2 * gibibyte,
      frozenDiskBytes: 6 * gibibyte,
    },
  };
  const measured =
    from === null
      ? await measureTraining(bench, { ...run, output: bench.outputFolder(id, variant, seed) })
      : await measurePrompts(bench, run);
  return { ...measured, settings };
}

const variantOf = (name: string, about: string, needs: readonly string[] = []): Variant => ({
  name,
  about,
  needs,
  measure: (bench, seed) => measure(bench, name, seed),
});

export const reference: QualityCase = {
  id,
  title: "Agreement with an independent implementation",
  facts: hotpotFacts,
  variants: [
    variantOf("shared", "the answer prompt is tuned while it reads the KV that compress wrote"),
    variantOf("recompute", "the answer prompt is tuned on question and evidence read again under it"),
    variantOf("naive", "the prompt of recompute, reading the KV that compress wrote", ["recompute"]),
    variantOf("no-evidence", "the prompt of shared, reading the question alone", ["shared"]),
    variantOf("other-evidence", "the prompt of shared, reading the KV of another item's evidence", [
      "shared",
    ]),
  ],
};
