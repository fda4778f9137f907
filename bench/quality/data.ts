// SPDX-License-Identifier: Apache-2.0
// The evaluation data as records of the suite's chains, and what is to be known about them beside the figures.
import type { CompressAnswerItem } from "../chains/data.js";
import { readItems } from "../chains/data.js";
import type { ComqaItem } from "./cases/comqa-turns.js";
import { placeholder } from "./cases/comqa-turns.js";

export const hotpotSet = "hotpot-compress-answer";
export const comqaSet = "comqa-recall-reason";

/** Names of all chains over the set: "Again" and `evidence` are texts that a stage reads again. */
export interface HotpotRecord {
  question: string;
  passages: string;
  compress: string;
  questionAgain: string;
  evidence: string;
  answer: string;
}

function toRecord({ question, passages, evidence, answer }: CompressAnswerItem): HotpotRecord {
  return { question, passages, compress: evidence, questionAgain: question, evidence, answer };
}

/** Throws MissingData. */
export function hotpotRecords(data: string | undefined, split: "train" | "dev"): HotpotRecord[] {
  return readItems<CompressAnswerItem>({ data }, hotpotSet, [split]).map(toRecord);
}

/** Every item with the next one's evidence, and the texts that it was written from. */
export function withOtherEvidence(records: readonly HotpotRecord[]) {
  return records.map(({ question, answer }, at) => {
    const other = records[(at + 1) % records.length] as HotpotRecord;
    const { passages, compress } = other;
    return { question, answer, otherQuestion: other.question, passages, compress };
  });
}

const yesOrNo = /^(yes|no)$/i;

/** Throws MissingData. */
export function hotpotFacts(data: string | undefined): Record<string, number> {
  const all = { train: hotpotRecords(data, "train"), dev: hotpotRecords(data, "dev") };
  const spans = all.dev.filter(({ answer }) => !yesOrNo.test(answer));
  const holds = (text: string, answer: string) => text.toLowerCase().includes(answer.toLowerCase());
  return {
    "training items": all.train.length,
    "dev items": all.dev.length,
    "dev items whose answer is yes or no": all.dev.length - spans.length,
    "dev items whose answer is another text": spans.length,
    "of these, answer occurs in the passages": spans.filter((one) => holds(one.passages, one.answer)).length,
    "of these, answer occurs in the gold evidence": spans.filter((one) => holds(one.compress, one.answer))
      .length,
  };
}

/** Throws MissingData. */
export function comqaRecords(data: string | undefined, split: "train" | "dev"): ComqaItem[] {
  return readItems<ComqaItem>({ data }, comqaSet, [split]);
}

/** Throws MissingData. */
export function comqaFacts(data: string | undefined): Record<string, number> {
  const [train, dev] = [comqaRecords(data, "train"), comqaRecords(data, "dev")];
  const placeholders = (items: typeof dev) =>
    items.filter(({ rounds }) => rounds.some(({ text }) => text === placeholder)).length;
  const turns = dev.reduce((sum, { rounds }) => sum + rounds.length, 0);
  return {
    "training items": train.length,
    "dev items": dev.length,
    "mean turns of a dev item": turns / dev.length,
    "dev items of one turn": dev.filter(({ rounds }) => rounds.length === 1).length,
    "training items with a placeholder in place of a turn": placeholders(train),
    "dev items with a placeholder in place of a turn": placeholders(dev),
    "percent right by guessing among five options": 20,
  };
}
