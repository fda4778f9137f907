// SPDX-License-Identifier: Apache-2.0
// A program of a user's in one file: a chain of one stage on the model file given. Also what is bundled.
import { defineChain, loadModel } from "baton-lm";

async function main() {
  const model = await loadModel(process.argv[2], { threads: 1 });
  try {
    const chain = defineChain(model).input("question").stage("answer", { maxTokens: 8 });
    const { answer } = await chain.run({ question: "Which bird sings at night?" }).result;
    if (answer.usage.tokens < 1) throw new Error("the stage made no token");
    console.log(`a chain ran: ${answer.usage.tokens} tokens`);
  } finally {
    await model.close();
  }
}

main();
