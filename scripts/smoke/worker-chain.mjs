// SPDX-License-Identifier: Apache-2.0
// The package in the main thread and in two workers at once, each with a model of its own; all must write the same.
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { defineChain, loadModel } from "baton-lm";

async function answerOf(file) {
  const model = await loadModel(file, { threads: 1, batchInvariant: true });
  try {
    const chain = defineChain(model).input("question").stage("answer", { maxTokens: 8 });
    const { answer } = await chain.run({ question: "Which bird sings at night?" }).result;
    return [...answer.tokens].join(" ");
  } finally {
    await model.close();
  }
}

const inWorker = (file) =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: file });
    worker.once("message", resolve);
    worker.once("error", reject);
  });

if (isMainThread) {
  const file = process.argv[2];
  const all = await Promise.all([answerOf(file), inWorker(file), inWorker(file)]);
  if (new Set(all).size !== 1 || all[0] === "") throw new Error(`threads differ: ${all.join(" | ")}`);
  console.log(
    `a chain ran in the main thread and in two workers: ${all[0].split(" ").length} tokens each, the same`,
  );
} else {
  parentPort.postMessage(await answerOf(workerData));
}
