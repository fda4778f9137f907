// SPDX-License-Identifier: Apache-2.0
// Two versions of the package in one process, as when two dependencies want different ones: both compute, with an addon
// each, and errors of one are known to the other's classes.
import * as one from "baton-lm";
import * as other from "baton-lm-next";

async function tokensOf({ defineChain, loadModel }, file) {
  const model = await loadModel(file, { threads: 1 });
  try {
    const chain = defineChain(model).input("question").stage("answer", { maxTokens: 8 });
    return (await chain.run({ question: "Which bird sings at night?" }).result).answer.usage.tokens;
  } finally {
    await model.close();
  }
}

if (one.BatonError === other.BatonError) throw new Error("there is one version only");
const tokens = [await tokensOf(one, process.argv[2]), await tokensOf(other, process.argv[2])];
if (tokens[0] < 1 || tokens[0] !== tokens[1]) throw new Error(`they wrote ${tokens.join(" and ")} tokens`);
const error = await one.loadModel("./no-such-file.gguf").catch((thrown) => thrown);
if (error instanceof other.BatonError) throw new Error("the classes are one");
if (!other.BatonError.isInstance(error)) throw new Error("an error of one is strange to the other");
console.log(`both ran their chain (${tokens.join(" and ")} tokens); isInstance knows the other's errors`);
