// SPDX-License-Identifier: Apache-2.0
// A chain of two stages on the small model, records that it can learn, and a way to collect its steps.
import type { Model, TuneOptions, TuneStep } from "../../src/index.js";
import { defineChain, tune } from "../../src/index.js";
import { loadTiny } from "../chain/tiny-model.js";

export const closers = ["<|endoftext|>"];
export const records = [
  {
    question: "How long?",
    passages: "It freezes for eleven weeks.",
    compress: "eleven weeks",
    answer: "eleven",
  },
  { question: "Who built it?", passages: "Ada Lindqvist built it.", compress: "Ada built it", answer: "Ada" },
  { question: "When was it built?", passages: "It was built in 1871.", compress: "in 1871", answer: "1871" },
  {
    question: "Where?",
    passages: "It stands on Ferry Rock now.",
    compress: "on Ferry Rock",
    answer: "Ferry Rock",
  },
  {
    question: "Who moved it?",
    passages: "Marsk moved it inland.",
    compress: "Marsk moved it",
    answer: "Marsk",
  },
];
export const dev = [
  { question: "Who?", passages: "Ada built it on rails.", compress: "Ada built it", answer: "Ada" },
  { question: "How?", passages: "It was moved on rails.", compress: "on rails", answer: "on rails" },
];

export const loadModelToTune = (): Promise<Model> =>
  loadTiny({ cacheBytes: 32 << 20, activations: "float32" });

export const chainOf = (model: Model) =>
  defineChain(model)
    .input("question", { format: "Question: {question}\n" })
    .input("passages")
    .stage("compress", { prompt: { text: "Shorten it." }, own: ["passages"], maxTokens: 5, closers })
    .stage("answer", { reads: ["question", "compress"], opener: "Answer:", maxTokens: 5, closers });

export type Site = "compress" | "answer";
export const base = {
  stages: ["answer"],
  data: records,
  epochs: 4,
  batchSize: 2,
  learningRate: 0.05,
  seed: 3,
} as const;
export const small = { answer: { virtualTokens: 6, init: { text: "Answer the question." } } };

const startOn = (model: Model, options: TuneOptions<Site>) => tune(chainOf(model), options);

/** Runs a tuning to its end. */
export async function collectOn(
  model: Model,
  options: TuneOptions<Site>,
): Promise<{ steps: TuneStep[]; run: ReturnType<typeof startOn> }> {
  const run = startOn(model, options);
  const steps: TuneStep[] = [];
  for await (const step of run) steps.push(step);
  return { steps, run };
}

export const lossesOf = (steps: readonly TuneStep[]) => steps.map(({ loss }) => loss);
