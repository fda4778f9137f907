// SPDX-License-Identifier: Apache-2.0
// The handler behind Hono on Node. The model is loaded once, when the process starts, and all requests share it.

import { once } from "node:events";
import { parseArgs } from "node:util";
import { serve } from "@hono/node-server";
import { defineChain, loadModel } from "baton-lm";
import { Hono } from "hono";
import { createHandler } from "./handler.mjs";

const { values: flags } = parseArgs({
  options: {
    port: { type: "string", default: "3000" },
    model: { type: "string", default: "smollm2-135m-instruct" },
  },
});

const model = await loadModel(flags.model, { maxConcurrentRuns: 4, maxQueuedRuns: 64 });
const chain = defineChain(model)
  .input("question", { format: "Question: {question}\n" })
  .stage("facts", { prompt: { text: "List what is known." }, opener: "Facts:", maxTokens: 24 })
  .stage("answer", { prompt: { text: "Answer from the facts." }, opener: "\nAnswer:", maxTokens: 24 });

const app = new Hono();
const handle = createHandler(chain);
app.post("/api/ask", ({ req }) => handle(req.raw));

const server = serve({ fetch: app.fetch, port: Number(flags.port), hostname: "127.0.0.1" }, ({ port }) =>
  console.log(`http://127.0.0.1:${port}/api/ask`),
);
await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
server.close();
await model.close();
