// SPDX-License-Identifier: Apache-2.0
// POST /v1/completions: a text goes on. Nothing is added to it but the BOS that the tokenizer asks for.

import { withBos } from "../../model/tokenizer.js";
import { checkBody, readJson } from "../body.js";
import { startCall } from "../calls.js";
import { unsupported } from "../errors.js";
import type { ServedModel } from "../models.js";
import { chainPrefix } from "../models.js";
import { lookUp } from "../names.js";
import { completionAnswerSchema } from "../openai/answer-schema.js";
import { answerHead, textFormat } from "../openai/answers.js";
import { completionSchema, promptOf, refusePrompts } from "../openai/completion-schema.js";
import { generationOptions } from "../openai/fields.js";
import { completionRefusals, refuse } from "../openai/refusals.js";
import { replyWithCall } from "../replies.js";
import type { Route } from "../route.js";
import { answerOrStream, generatingErrors, jsonRequest } from "../route.js";

function tokensOf({ model }: ServedModel, prompt: string | readonly number[]): Int32Array {
  if (typeof prompt !== "string") return Int32Array.from(prompt);
  const { tokenizer } = model;
  return withBos(tokenizer, tokenizer.encode(prompt, { specials: false, atZero: true }));
}

export const completions: Route = {
  method: "post",
  path: "/v1/completions",
  config: {
    operationId: "createCompletion",
    summary: "Continue a text",
    request: jsonRequest(completionSchema),
    responses: { 200: answerOrStream("The continuation", completionAnswerSchema), ...generatingErrors },
  },
  async handle(context, c, { lease, tenant, incoming }) {
    const given = await readJson(c, incoming, context.options.maxBodyBytes);
    refuse(given, completionRefusals);
    refusePrompts(given);
    const body = checkBody(completionSchema, given);
    if (body.model.startsWith(chainPrefix))
      throw unsupported(
        "model",
        "A chain continues no text. POST /v1/chat/completions, or /v1/chains/{name}.",
      );
    const served = lookUp(context.models, "model", body.model, "model");
    const prompt = context.promptRows(served, body.soft_prompt ?? null, "soft_prompt");
    const options = generationOptions(body, body.max_tokens ?? context.options.defaultMaxTokens);
    const started = await startCall(context, {
      served,
      tenant,
      rows: { tokens: tokensOf(served, promptOf(body)), ...(prompt && { prompt }) },
      options: { ...options, ...(body.logprobs != null && { logprobs: body.logprobs }) },
      ...(body.session != null && { session: body.session }),
      signal: lease.signal,
    });
    const head = answerHead("cmpl", body.model, served.model.info.contentHash);
    return replyWithCall(context, started, { format: textFormat, head, body });
  },
};
