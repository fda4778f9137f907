// SPDX-License-Identifier: Apache-2.0
// recall <-> reason: two specialists take turns, and every turn reads all turns before it. `reason` takes one step; as
// long as it has not named the answer, `recall` writes down a fact that helps. Both run under prompts that were trained
// together; the texts here are what those began as.

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { defineChain, loadModel } from "baton-lm";

const { values: flags } = parseArgs({
  options: {
    "max-tokens": { type: "string", default: "128" },
    untuned: { type: "boolean", default: false },
    model: { type: "string", default: "smollm2-135m-instruct" },
  },
});
const maxTokens = Number(flags["max-tokens"]);

const user = "<|im_start|>user\n";
const toAssistant = "<|im_end|>\n<|im_start|>assistant\n";
const toUser = `<|im_end|>\n${user}`;
const hasAnswer = (/** @type {{ reason: { text: string } }} */ { reason }) =>
  reason.text.includes("The answer is");

const model = await loadModel(flags.model);
const untuned = defineChain(model)
  .input("question", { format: `${user}{question}` })
  .rounds(
    "turns",
    (round) =>
      round
        .stage("reason", {
          prompt: { text: "Think step by step and name the answer. ", virtualTokens: 50 },
          opener: `${toUser}Think one step further. If that is enough, name the answer.${toAssistant}`,
          lead: "",
          maxTokens,
        })
        .when(
          "lookup",
          (results) => !hasAnswer(results),
          (inside) =>
            inside.stage("recall", {
              prompt: { text: "Recall a fact that helps. ", virtualTokens: 50 },
              opener: `${toUser}Recall a fact that helps to answer.${toAssistant}`,
              lead: "",
              maxTokens: Math.min(96, maxTokens),
            }),
        ),
    { max: 4, until: hasAnswer },
  );

/** A prompt that the package ships. */
const promptOf = (/** @type {string} */ name) =>
  fileURLToPath(new URL(`prompts/reason-recall/${name}`, import.meta.resolve("baton-lm/package.json")));
const chain = flags.untuned
  ? untuned
  : untuned.withPrompts({
      "turns.reason": promptOf("turns.reason"),
      "turns.lookup.recall": promptOf("turns.lookup.recall"),
    });

const run = chain.run({
  question:
    "Question: Where would you put a hot drink to keep it warm on a long walk? " +
    "Options: A.fridge B.flask C.basket D.sink E.freezer ",
});
let [computed, reused] = [0, 0];
for await (const event of run) {
  if (event.type === "stage-start") process.stdout.write(`\n[${event.stage}] `);
  if (event.type === "text-delta") process.stdout.write(event.text);
  if (event.type === "warning") console.error(`warning: ${event.message}`);
  if (event.type !== "stage-end") continue;
  computed += event.usage.rowsComputed;
  reused += event.usage.rowsReused;
}
const { turns } = await run.result;
console.log(`\n\nrows computed: ${computed}, read from the cache instead: ${reused}`);
console.log(`${turns.rounds.length} rounds, stopped by ${turns.stopped}`);
await model.close();
