// SPDX-License-Identifier: Apache-2.0
// From the start of the process to the first streamed text of the default model, which must be in the user's cache.
import { defineChain, loadModel } from "baton-lm";

const model = await loadModel("smollm2-135m-instruct");
const chain = defineChain(model)
  .input("passages")
  .input("question")
  .stage("answer", { prompt: { text: "Quote the sentence that answers the question." }, maxTokens: 16 });
const run = chain.run({
  passages: "The lighthouse on Ferry Rock was built in 1871 by the engineer Ada Lindqvist. ",
  question: "Who built the lighthouse on Ferry Rock?",
});
let first;
for await (const event of run) if (event.type === "text-delta") first ??= performance.now();
await model.close();
if (first === undefined) throw new Error("no text was streamed");
console.log(JSON.stringify({ firstTokenMs: first }));
