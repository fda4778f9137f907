// SPDX-License-Identifier: Apache-2.0
// The package by require(): a chain runs, and what import() gives is the same and no second copy.
"use strict";
const baton = require("baton-lm");
const { createBaton } = require("baton-lm/ai-sdk");
const { createServer } = require("baton-lm/server");

async function main() {
  const imported = await import("baton-lm");
  if (imported.Model !== baton.Model || imported.loadModel !== baton.loadModel)
    throw new Error("there are two copies");
  if (typeof createBaton !== "function" || typeof createServer !== "function")
    throw new Error("a subpath is empty");
  const model = await baton.loadModel(process.argv[2], { threads: 1 });
  try {
    const chain = baton.defineChain(model).input("question").stage("answer", { maxTokens: 8 });
    const { answer } = await chain.run({ question: "Which bird sings at night?" }).result;
    if (answer.usage.tokens < 1) throw new Error("the stage made no token");
    console.log(`a chain ran: ${answer.usage.tokens} tokens, one copy of the classes`);
  } finally {
    await model.close();
  }
}

main();
