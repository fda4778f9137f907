// SPDX-License-Identifier: Apache-2.0
// The prompts that are shipped: PEFT folders of the size that is promised, trained for the chain documents beside them,
// and better than the texts they began as on records that are written here.

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Chain, Model } from "../src/index.js";
import { chainFromDocument, loadModel, parseChainDocument } from "../src/index.js";
import { devLoss } from "../src/tune/evaluate.js";
import { createAdamWState } from "../src/tune/optimizer.js";
import { openTuning } from "../src/tune/tuning.js";

const shipped = join(import.meta.dirname, "..", "prompts");

interface PromptSet {
  /** Folders of prompts in the set's, named by the stages they are for. */
  stages: string[];
  /** As the data that it was trained on. */
  records: object[];
  inputs: Record<string, string>;
  functions?: Record<string, () => string>;
}

const passages =
  "The bridge over the Senna near Orlov was opened in 1932. Its architect, Milan Horak, had won the contest for it two years before. " +
  "In winter the bridge is closed to lorries, because the ramp on the northern bank freezes.";

const sets: Record<string, PromptSet> = {
  "compress-answer": {
    stages: ["compress", "answer"],
    records: [
      {
        passages,
        question: "Who designed the bridge near Orlov?",
        compress: "The bridge over the Senna near Orlov was designed by the architect Milan Horak.",
        answer: "Milan Horak",
      },
      {
        passages,
        question: "In which year was the bridge over the Senna opened?",
        compress: "The bridge over the Senna near Orlov was opened in 1932.",
        answer: "1932",
      },
    ],
    inputs: { passages, question: "Who designed the bridge near Orlov?" },
  },
  "critique-retrieve": {
    stages: ["search.answer"],
    records: [
      {
        question: "Who designed the bridge near Orlov?",
        search: [
          { passage: passages, answer: "Milan Horak" },
          { passage: "The mill in Orlov grinds rye.", answer: "Milan Horak" },
        ],
      },
    ],
    inputs: { question: "Who designed the bridge near Orlov?" },
    functions: { nextPassage: () => passages },
  },
  "reason-recall": {
    stages: ["turns.reason", "turns.lookup.recall"],
    records: [
      {
        question:
          "Question: Where does a carpenter keep a hammer? Options: A.fridge B.toolbox C.aquarium D.wallet E.oven ",
        turns: [
          {
            stage: "reason",
            text: "Let's reason with knowledge: The question asks where a carpenter keeps a hammer. I need to know where tools are stored.",
          },
          {
            stage: "recall",
            text: "Let's recall the knowledge: Carpenters store hammers and other tools in a toolbox.",
          },
          {
            stage: "reason",
            text: "Let's reason with knowledge: A toolbox holds tools, so option B fits. [The answer is]: B",
          },
        ],
      },
    ],
    inputs: {
      question: "Question: What do people read? Options: A.books B.soup C.stones D.chairs E.gloves ",
    },
  },
  "rewrite-retrieve-answer": {
    stages: ["rewrite", "answer"],
    records: [
      {
        question: "Who designed the bridge near Orlov?",
        rewrite: "designed bridge Orlov",
        passage: passages,
        answer: "Milan Horak",
      },
      {
        question: "In which year was the bridge over the Senna opened?",
        rewrite: "bridge Senna opened",
        passage: passages,
        answer: "1932",
      },
    ],
    inputs: { passage: passages, question: "Who designed the bridge near Orlov?" },
  },
};

type AnyChain = Chain<string, string, string, string>;

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { threads: 2 });
}, 300_000);
afterAll(() => model.close());

/** A set's one folder has the name of its stage where several stages were not trained at once. */
function folderOf(set: string, stage: string): string {
  const whole = join(shipped, set, stage);
  return existsSync(whole) ? whole : join(shipped, set, stage.slice(stage.lastIndexOf(".") + 1));
}

function chainOf(set: string): AnyChain {
  const file = join(shipped, set, "chain.json");
  const document = parseChainDocument(JSON.parse(readFileSync(file, "utf8")));
  const functions = sets[set]?.functions ?? {};
  return chainFromDocument(model, document, { file, functions }) as AnyChain;
}

const trainedFor = (set: string, { stages }: PromptSet) =>
  Object.fromEntries(stages.map((stage) => [stage, folderOf(set, stage)]));

test("every set is here", () => {
  const folders = readdirSync(shipped, { withFileTypes: true }).filter((one) => one.isDirectory());
  expect(folders.map(({ name }) => name).sort()).toEqual(Object.keys(sets));
});

describe.each(Object.entries(sets))("%s", (set, prompts) => {
  test.each(prompts.stages)("%s has PEFT's two files and the contract", (stage) => {
    const folder = folderOf(set, stage);
    const weights = join(folder, "adapter_model.safetensors");
    expect(Math.round(statSync(weights).size / 1000)).toBe(115);
    const config = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));
    expect(config).toMatchObject({ peft_type: "PROMPT_TUNING", num_virtual_tokens: 50, token_dim: 576 });
    expect(existsSync(join(folder, "baton_contract.json"))).toBe(true);
  });

  test("they run in their chain under the contract they were trained with", async () => {
    const warnings: string[] = [];
    const chain = chainOf(set).withPrompts(trainedFor(set, prompts));
    for await (const event of chain.run(prompts.inputs)) {
      if (event.type === "warning") warnings.push(event.message);
    }
    expect(warnings).toEqual([]);
  }, 300_000);

  test.each(prompts.stages)(
    "%s lowers the loss of gold texts that it has never seen",
    async (stage) => {
      const { [stage]: _, ...others } = trainedFor(set, prompts);
      const options = { data: prompts.records, stages: [stage] };
      const { task, items, initial } = await openTuning(chainOf(set).withPrompts(others).definition, options);
      const trained = await openTuning(
        chainOf(set).withPrompts(trainedFor(set, prompts)).definition,
        options,
      );
      const signal = new AbortController().signal;
      const lossOf = async (values: readonly Float32Array[]) => {
        const held = await task.hold({ values: [...values], adam: createAdamWState(values) });
        return devLoss(task, items, held, 1, signal).finally(() => held.close());
      };
      const before = await lossOf(initial);
      const after = await lossOf(trained.initial);
      expect(after).toBeLessThan(0.7 * before);
      task.close();
      trained.task.close();
    },
    300_000,
  );
});
