// SPDX-License-Identifier: Apache-2.0
// Run by pack-check.mjs inside an empty project that has baton-lm installed: one chain of two stages on the model file
// given. Fails when the chain does, when a stage is empty or when the second one reused nothing.
import { defineChain, loadModel } from "baton-lm";

const model = await loadModel(process.argv[2], { threads: 2 });
try {
  const chain = defineChain(model)
    .input("question")
    .stage("compress", { prompt: { text: "Shorten this." }, reads: ["question"], maxTokens: 8 })
    .stage("answer", { prompt: { text: "Answer this." }, reads: ["question", "compress"], maxTokens: 8 });
  const { compress, answer } = await chain.run({ question: "Which bird sings at night?" }).result;
  if (compress.usage.tokens < 1 || answer.usage.tokens < 1) throw new Error("a stage made no token");
  if (answer.usage.rowsReused < 1) throw new Error("the second stage reused no row of the first");
  console.log(
    `an installed chain ran: ${compress.usage.tokens} and ${answer.usage.tokens} tokens on ${model.info.isa}`,
  );
} finally {
  await model.close();
}
