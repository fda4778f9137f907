// SPDX-License-Identifier: Apache-2.0
// The pictures of docs/how-it-works.md: masks of small chains, drawn by `explain` as any user's are. The page says what there is
// to see; test/docs/pictures.test.ts holds the files to what is drawn.
//
//   pictures.mjs     writes docs/pictures/*.svg; wants `npm run build` and the default model
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { entry, root, say } from "./lib/run.mjs";

const text = {
  question: "Who built the lighthouse on Ferry Rock?",
  passages: "The lighthouse on Ferry Rock was built in 1871 by the engineer Ada Lindqvist.",
};
const recall = { prompt: { text: "Recall a fact that helps." }, opener: "Fact:" };
const reason = { prompt: { text: "Think one step further." }, opener: "Step:" };

/** By file: the chain, given the package and a model, and the inputs that are known. */
const scenes = {
  chain: ({ defineChain }, model) =>
    defineChain(model)
      .input("question")
      .input("passages")
      .stage("compress", { prompt: { text: "Quote what matters." }, own: ["passages"] })
      .stage("answer", {
        prompt: { text: "Answer from the quotes." },
        reads: ["question", "compress"],
        opener: "Answer:",
      })
      .explain(text),
  "text-handed-over": ({ defineChain }, model) =>
    defineChain(model)
      .input("question")
      .input("quotes")
      .stage("answer", {
        prompt: { text: "Answer from the quotes." },
        own: ["question", "quotes"],
        opener: "Answer:",
      })
      .explain({ question: text.question, quotes: "It was built in 1871 by Ada Lindqvist." }),
  alone: ({ defineChain }, model) =>
    defineChain(model)
      .input("document", { alone: true })
      .input("question")
      .stage("answer", { prompt: { text: "Answer from the text." }, opener: "Answer:" })
      .explain({ document: text.passages, question: text.question }),
  rounds: ({ defineChain }, model) =>
    defineChain(model)
      .input("question")
      .rounds("turns", (round) => round.stage("recall", recall).stage("reason", reason), { max: 2 })
      .explain(text),
  "fan-out": ({ defineChain }, model) =>
    defineChain(model)
      .input("question")
      .fanOut("votes", { samples: 3 }, (branch) => branch.stage("vote", { ...reason, temperature: 0.8 }))
      .join("pick", { prompt: { text: "Pick the best." }, reads: ["question", "votes"], opener: "Best:" })
      .explain(text),
};

/** @returns {Promise<Record<string, string>>} texts of the files of docs/pictures, by name */
export async function drawPictures(baton, model) {
  const files = {};
  for (const [name, explain] of Object.entries(scenes)) {
    files[`${name}.svg`] = `${(await explain(baton, model)).draw("svg").trimEnd()}\n`;
  }
  return files;
}

if (process.argv[1] === import.meta.filename) {
  await entry(async () => {
    const baton = await import(path.join(root, "dist/index.js"));
    const model = await baton.loadModel("smollm2-135m-instruct");
    const folder = path.join(root, "docs/pictures");
    mkdirSync(folder, { recursive: true });
    for (const [name, svg] of Object.entries(await drawPictures(baton, model))) {
      writeFileSync(path.join(folder, name), svg);
      say(`docs/pictures/${name}`);
    }
    await model.close();
    return 0;
  });
}
