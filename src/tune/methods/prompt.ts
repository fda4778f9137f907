// SPDX-License-Identifier: Apache-2.0
// Prompt tuning (Lester et al., 2021, arXiv 2104.08691): soft rows in front of everything a stage reads. They begin as
// the embeddings of a text, repeated and cut to the number of virtual tokens as PEFT does it, of tokens drawn from the
// vocabulary, as normal numbers as wide as the embeddings, or as rows that were trained before.

import { OptionInvalidError, PromptInvalidError } from "../../errors.js";
import type { Model } from "../../model/model.js";
import type { PromptSource, ResolvedPrompt } from "../../model/prompt.js";
import { resolvePrompt } from "../../model/prompt.js";
import type { Random } from "../random.js";
import type { InitialRows, StageToTune, TuningMethod } from "./method.js";

/** `checkpoint`: a PEFT folder. */
export type PromptInit =
  | "vocabulary"
  | "random"
  | { text: string }
  | { checkpoint: string }
  | { rows: Float32Array; count: number };

export interface PromptTuning {
  /** Rows of the prompt; default: those of a checkpoint, else 50. */
  virtualTokens?: number;
  /** What the rows are before the first step; default: the stage's own prompt, without one "vocabulary". */
  init?: PromptInit;
}

const defaultTokens = 50;

export const promptMethod: TuningMethod<PromptTuning> = {
  options: ["virtualTokens", "init"],
  async initialise(stage, { virtualTokens, init }) {
    const { model } = stage;
    const most = model.info.contextLength - 1; // one row at least must read them
    const isCount = Number.isSafeInteger(virtualTokens) && (virtualTokens as number) >= 1;
    if (virtualTokens !== undefined && !(isCount && virtualTokens <= most)) {
      throw invalid(
        stage,
        "virtualTokens",
        virtualTokens,
        `a whole number from 1 to ${most} (the context less one row)`,
      );
    }
    if (init === "vocabulary" || (init === undefined && stage.prompt === null)) {
      return ofTokens(model, drawTokens(stage, virtualTokens ?? defaultTokens));
    }
    if (init === "random") return normalRows(model, stage.random, virtualTokens ?? defaultTokens);
    const { source, count } = sourceOf(stage, init, virtualTokens);
    const target = { hidden: model.info.hidden, tokenizer: model.tokenizer };
    const resolved = await resolvePrompt(source, target).catch((error: unknown) => {
      throw init === undefined && PromptInvalidError.isInstance(error) ? notToBeginAs(stage, error) : error;
    });
    if (count !== undefined && resolved.count !== count) {
      throw invalid(
        stage,
        "virtualTokens",
        count,
        `${resolved.count}, the rows of ${resolved.label}, or left out`,
      );
    }
    if (resolved.count > most) throw invalid(stage, "init", resolved.label, `of at most ${most} rows`);
    return ofPrompt(model, resolved);
  },
};

function invalid(
  { stage }: StageToTune,
  option: string,
  value: unknown,
  expected: string,
): OptionInvalidError {
  return new OptionInvalidError(
    `Stage "${stage}" is to be tuned with \`${option}\` ${String(value)}, which must be ${expected}.`,
    { facts: { step: stage, option, value: String(value) } },
  );
}

/** A chain may name the folder that its stage's prompt will be written to: before that there is nothing in it. */
function notToBeginAs({ stage }: StageToTune, error: PromptInvalidError): PromptInvalidError {
  return new PromptInvalidError(
    `${error.message} Stage "${stage}" is to begin as this prompt of its own; where there is none yet, say in \`init\` ` +
      "(--init) what it begins as.",
    { facts: { ...error.facts, step: stage, option: "init" }, cause: error },
  );
}

/** Texts are repeated or cut to the rows that are wanted; of a checkpoint `count` is checked. */
function sourceOf(
  stage: StageToTune,
  init: Exclude<PromptInit, string> | undefined,
  virtualTokens: number | undefined,
): { source: PromptSource; count: number | undefined } {
  const isObject = typeof init === "object" && init !== null;
  if (init !== undefined && !isObject) {
    throw invalid(
      stage,
      "init",
      JSON.stringify(init),
      '"vocabulary", "random", { text }, { checkpoint: folder } or { rows, count }',
    );
  }
  const given = isObject && "checkpoint" in init ? init.checkpoint : (init ?? stage.prompt ?? "");
  if (typeof given === "object" && "text" in given) {
    const own = "virtualTokens" in given ? (given.virtualTokens as number | undefined) : undefined;
    const rows = virtualTokens ?? own ?? defaultTokens;
    return { source: { text: given.text, virtualTokens: rows }, count: undefined };
  }
  return { source: given, count: virtualTokens };
}

function ofTokens(model: Model, tokens: Int32Array): InitialRows {
  return { rows: tokens.length, values: model.engine.tokenEmbeddings(tokens) };
}

function ofPrompt(model: Model, { tokens, rows, count }: ResolvedPrompt): InitialRows {
  return rows === undefined ? ofTokens(model, tokens ?? new Int32Array()) : { rows: count, values: rows };
}

/** Tokens that have a text; each as likely. */
function drawTokens({ model, random }: StageToTune, count: number): Int32Array {
  const { offsets } = model.tokenBytes;
  const hasText = (id: number) => (offsets[id + 1] as number) > (offsets[id] as number);
  return Int32Array.from({ length: count }, () => {
    let id = random.below(offsets.length - 1);
    while (!hasText(id)) id = random.below(offsets.length - 1);
    return id;
  });
}

/** Tokens whose embeddings tell how wide embeddings are. */
const probed = 1024;

/** Normal numbers (Box and Muller) around 0 with the standard deviation of the embeddings' numbers. */
function normalRows(model: Model, random: Random, rows: number): InitialRows {
  const { hidden, vocab } = model.info;
  const step = Math.max(1, Math.floor(vocab / probed));
  const probe = Int32Array.from({ length: Math.min(probed, vocab) }, (_, index) => index * step);
  const numbers = model.engine.tokenEmbeddings(probe);
  const mean = numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
  const variance = numbers.reduce((sum, one) => sum + (one - mean) ** 2, 0) / numbers.length;
  const deviation = Math.sqrt(variance);
  const uniform = () => (random.next() + 0.5) / 2 ** 32;
  const values = Float32Array.from({ length: rows * hidden }, () => {
    const radius = Math.sqrt(-2 * Math.log(uniform()));
    return deviation * radius * Math.cos(2 * Math.PI * uniform());
  });
  return { rows, values };
}
