// SPDX-License-Identifier: Apache-2.0
// POST /v1/chains/{name}: a run of a chain, with the results of all of its stages; streamed, with all of its events.

import { randomUUID } from "node:crypto";
import { z } from "@hono/zod-openapi";
import { checkBody, readJson } from "../body.js";
import type { StartedRun } from "../chain-runs.js";
import { startRun } from "../chain-runs.js";
import type { ServeContext } from "../context.js";
import { chainPrefix } from "../models.js";
import { checkName, namePattern, promptPattern } from "../names.js";
import { chainAnswerSchema } from "../openai/answer-schema.js";
import type { NamedPrompt } from "../prompts.js";
import { failureEvent } from "../replies.js";
import type { Route } from "../route.js";
import { answerOrStream, generatingErrors, jsonRequest } from "../route.js";
import { jsonAnswer } from "../sending.js";
import { dataOf, endOfStream, sseAnswer } from "../sse.js";

const promptName = z.string().min(1).max(256).regex(new RegExp(promptPattern));

const chainSchema = z
  .strictObject({
    inputs: z.record(z.string(), z.string()).openapi({ description: "The chain's inputs by name" }),
    prompt: z.record(z.string(), promptName).nullish().openapi({
      description: "Prompts for stages in place of the chain's own, by their names on the server",
    }),
    stream: z.boolean().nullish().openapi({ description: "Answer with the events of the run as they come" }),
  })
  .openapi("ChainRunRequest");

interface RunHead {
  id: string;
  object: "chain.run";
  created: number;
  chain: string;
}

async function answerOf(context: ServeContext, head: RunHead, started: StartedRun): Promise<object> {
  const results = await started.result;
  const usage = started.usage();
  context.metrics.completed(`${chainPrefix}${head.chain}`, usage);
  return { ...head, results, usage };
}

async function* events(
  context: ServeContext,
  head: RunHead,
  started: StartedRun,
): AsyncGenerator<string, undefined> {
  try {
    for await (const event of started.events) yield `event: ${event.type}\n${dataOf(event)}`;
    yield `event: result\n${dataOf(await answerOf(context, head, started))}${endOfStream}`;
  } catch (error) {
    yield `event: error\n${failureEvent(context, error)}`;
  }
}

function promptsOf(
  { prompts }: ServeContext,
  named: Readonly<Record<string, string>>,
): Map<string, NamedPrompt> {
  return new Map(
    Object.entries(named).map(([stage, name]) => [stage, prompts.get(name, `prompt.${stage.slice(0, 64)}`)]),
  );
}

export const chains: Route = {
  method: "post",
  path: "/v1/chains/{name}",
  config: {
    operationId: "runChain",
    summary: "Run a chain",
    request: {
      params: z.object({ name: z.string().min(1).max(128).regex(new RegExp(namePattern)) }),
      ...jsonRequest(chainSchema),
    },
    responses: { 200: answerOrStream("The results of all stages", chainAnswerSchema), ...generatingErrors },
  },
  async handle(context, c, { lease, tenant, incoming }) {
    const name = checkName("chain", c.req.param("name") ?? "", "name");
    const served = context.chains.get(name, "name");
    const body = checkBody(chainSchema, await readJson(c, incoming, context.options.maxBodyBytes));
    const chain = await served.under(promptsOf(context, body.prompt ?? {}));
    const started = await startRun(context, { chain, inputs: body.inputs, tenant, signal: lease.signal });
    const created = Math.floor(Date.now() / 1000);
    const head: RunHead = { id: `run-${randomUUID()}`, object: "chain.run", created, chain: name };
    if (body.stream === true) return sseAnswer(events(context, head, started));
    for await (const event of started.events) void event; // their usages are what is wanted
    return jsonAnswer(await answerOf(context, head, started));
  },
};
