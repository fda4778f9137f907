// SPDX-License-Identifier: Apache-2.0
// Trains the prompt of a stage, writes it as a PEFT folder, serves the chain under it and asks the server.
//
//   node main.mjs [--stay]     --stay: the server goes on until Ctrl-C

import { once } from "node:events";
import { parseArgs } from "node:util";
import { loadModel, tune } from "baton-lm";
import { createServer } from "baton-lm/server";
import { createChain } from "./chain.mjs";
import { dev, train } from "./records.mjs";

const { values: flags } = parseArgs({
  options: {
    output: { type: "string", default: "prompts/answer" },
    epochs: { type: "string", default: "2" },
    records: { type: "string", default: "32" },
    port: { type: "string", default: "0" },
    stay: { type: "boolean", default: false },
    model: { type: "string", default: "smollm2-135m-instruct" },
  },
});

const model = await loadModel(flags.model);
const records = Number(flags.records);
const tuning = tune(createChain(model), {
  stages: ["answer"],
  data: train.slice(0, records),
  dev: dev.slice(0, records),
  epochs: Number(flags.epochs),
  batchSize: 4,
  score: "squad", // what the chain writes for the dev records, before the first step and after each epoch
  output: flags.output,
});
for await (const { step, steps, loss, rows } of tuning) {
  console.log(
    `step ${step}/${steps}: loss ${loss.toFixed(3)}, ${rows.live} live rows, ${rows.frozen} frozen`,
  );
}
const { prompts, evaluations } = await tuning.result;
for (const { epoch, devLoss, scores } of evaluations) {
  console.log(`after ${epoch} epochs: dev loss ${devLoss.toFixed(3)}, ${scores.exactMatch} % exact`);
}

// as any other process would: the folder is all that it needs
const chain = createChain(model, prompts.answer.folder ?? flags.output);
const server = await createServer({ chains: { years: chain } });
const { url } = await server.listen({ port: Number(flags.port) });
console.log(`${url}/v1/chains/years`);

const [asked] = dev;
const response = await fetch(`${url}/v1/chains/years`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ inputs: { text: asked?.text, question: asked?.question } }),
});
const answer = await response.json();
console.log(`${response.status}: ${asked?.question} ${JSON.stringify(answer)}`);

if (flags.stay) await once(process, "SIGINT");
await server.close();
await model.close();
