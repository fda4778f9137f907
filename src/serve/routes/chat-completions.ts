// SPDX-License-Identifier: Apache-2.0
// POST /v1/chat/completions: of a model, by its chat template; or of a chain, whose one input that `inputs` does not name
// is the user's message, and whose answer is the output of its last stage.

import type { ChatMessage } from "../../index.js";
import { checkBody, readJson } from "../body.js";
import { startCall } from "../calls.js";
import { startRun } from "../chain-runs.js";
import type { ServedChain } from "../chains.js";
import type { RequestVariables, ServeContext } from "../context.js";
import { ServeError, unsupported } from "../errors.js";
import type { ServedModel } from "../models.js";
import { chainPrefix } from "../models.js";
import { checkName, lookUp } from "../names.js";
import { chatAnswerSchema } from "../openai/answer-schema.js";
import { answerHead, chatFormat } from "../openai/answers.js";
import type { ChatBody } from "../openai/chat-schema.js";
import { chatSchema, logprobsOf, maxTokensOf } from "../openai/chat-schema.js";
import { generationOptions, outputFields } from "../openai/fields.js";
import { messagesOf, refuseMessages } from "../openai/messages.js";
import { chatRefusals, refuse } from "../openai/refusals.js";
import { checkOutput, noStop, outputOf } from "../openai/response-format.js";
import type { ToolUse } from "../openai/tools.js";
import { ToolReply, toolUseOf } from "../openai/tools.js";
import { replyWithCall, replyWithRun } from "../replies.js";
import type { Route } from "../route.js";
import { answerOrStream, generatingErrors, jsonRequest } from "../route.js";
import type { Answered } from "../sending.js";

/** What the text is held to, as the request says it, with the field that says so; null: nothing. */
interface Held {
  output: { jsonSchema: object };
  param: string;
}

function heldTo(body: ChatBody, { tools, forced }: ToolUse): Held | null {
  if (forced !== null) {
    if (forced.tool === null) return null; // it is begun as a call, of whichever the model takes
    return { output: { jsonSchema: forced.tool.function.parameters as object }, param: forced.param };
  }
  const output = outputOf(body.response_format);
  if (output === null) return null;
  if (tools.length > 0)
    throw unsupported(
      "response_format",
      "An answer that may be a call of a tool is not held to a format. Leave one of them out, or say `tool_choice`.",
    );
  return { output, param: "response_format" };
}

/** What the answer is read by, and the tokens that it is begun with. */
function toolReply({ model, chat }: ServedModel, { tools, forced }: ToolUse) {
  if (tools.length === 0) return null;
  const { format } = chat;
  if (forced === null) return { tools: new ToolReply(format, tools), begun: [] };
  const begun = model.tokenizer.encode(format.opener(forced.tool?.function.name ?? null), { specials: true });
  const closer = forced.tool === null ? "" : format.closer;
  return { tools: new ToolReply(format, tools, model.tokenizer.decode(begun), closer), begun };
}

/** Throws ServeError. */
function checkTools(body: ChatBody, { tools }: ToolUse): void {
  if (tools.length === 0 || body.logprobs !== true) return;
  throw unsupported(
    "logprobs",
    "Log-probabilities of an answer that may be a call are not told. Leave them out.",
  );
}

/** Rows of the messages; a template sees tools only where there are some. */
function rowsOf(served: ServedModel, messages: readonly ChatMessage[], { tools }: ToolUse): Int32Array {
  const plain = tools.length === 0 && messages.every((one) => one.role !== "tool" && !one.tool_calls);
  return plain ? served.template.encode(messages) : served.chat.encode(messages, tools);
}

async function ofModel(
  context: ServeContext,
  body: ChatBody,
  variables: RequestVariables,
): Promise<Answered> {
  const { lease, tenant } = variables;
  const served = lookUp(context.models, "model", body.model, "model");
  if (body.inputs != null)
    throw unsupported("inputs", "`inputs` are a chain's. Ask for one, as `chain:` and its name.");
  const { defaultMaxTokens } = context.options;
  const alternatives = logprobsOf(body);
  const options = generationOptions(body, maxTokensOf(body, defaultMaxTokens));
  const prompt = context.promptRows(served, body.prompt ?? null, "prompt");
  const use = toolUseOf(body);
  checkTools(body, use);
  const held = heldTo(body, use);
  if (held !== null) {
    if (options.stop !== undefined) throw noStop(use.forced === null ? held.param : "tool_choice");
    await checkOutput(served.model, held.output, held.param);
  }
  const reply = toolReply(served, use);
  const rows = rowsOf(served, messagesOf(body), use);
  const tokens = reply === null ? rows : Int32Array.from([...rows, ...reply.begun]);
  const started = await startCall(context, {
    served,
    tenant,
    rows: { tokens, ...(prompt && { prompt }) },
    options: {
      ...options,
      ...(alternatives !== null && { logprobs: alternatives }),
      ...(held !== null && { output: held.output }),
    },
    ...(body.session != null && { session: body.session }),
    signal: lease.signal,
  });
  const head = answerHead("chatcmpl", body.model, served.model.info.contentHash);
  const tools = reply === null ? {} : { tools: reply.tools };
  return replyWithCall(context, started, { format: chatFormat, head, body, ...tools });
}

/** Fields that a chain has no use for, because its stages say it. */
const ofStages = [...Object.keys(outputFields), "max_completion_tokens", "logprobs", "top_logprobs"];

function refuseForChain(body: ChatBody): void {
  if (toolUseOf(body).tools.length > 0)
    throw unsupported("tools", "A chain calls no tools. Leave them out, or ask for a model.");
  if (outputOf(body.response_format) !== null) {
    const why = "The `output` of its last stage says what the answer is.";
    throw unsupported(
      "response_format",
      `\`response_format\` has no meaning for a chain. ${why} Leave it out.`,
    );
  }
  for (const name of [...ofStages, "session"] as (keyof ChatBody)[]) {
    if (body[name] === undefined || body[name] === null) continue;
    const why =
      name === "session" ? "A chain's rows are found by their content." : "The stages of a chain say it.";
    throw unsupported(name, `\`${name}\` has no meaning for a chain. ${why} Leave it out.`);
  }
  if (typeof body.prompt === "string")
    throw unsupported(
      "prompt",
      "A chain has several prompts. POST /v1/chains/{name} takes one for each stage.",
    );
}

/** What the chain is given, and the stage whose output is the answer. Throws ServeError. */
function chatOfChain(chain: ServedChain, body: ChatBody): { inputs: Record<string, string>; answer: string } {
  const { name, answer } = chain;
  const [message, ...others] = messagesOf(body);
  if (answer === null) {
    throw new ServeError(
      400,
      "no_answer",
      `Chain "${name}" does not end with a stage, so none of its outputs is the answer. POST /v1/chains/${name} gives all.`,
      { param: "model" },
    );
  }
  if (message === undefined || message.role !== "user" || others.length > 0) {
    throw unsupported(
      "messages",
      "A chain takes one message, the user's. Send it alone; other texts are its `inputs`.",
    );
  }
  const given: Record<string, string> = { ...body.inputs };
  const open = chain.inputs.filter((one) => !Object.hasOwn(given, one));
  const [input] = open;
  if (input === undefined || open.length > 1) {
    const what =
      open.length === 0 ? "`inputs` names all of them" : `\`inputs\` leaves ${open.join(", ")} open`;
    throw new ServeError(
      400,
      "invalid_inputs",
      `Chain "${name}" takes the inputs ${chain.inputs.join(", ") || "none"}, and ${what}. Name all but the one that the ` +
        "message is.",
      { param: "inputs" },
    );
  }
  return { inputs: { ...given, [input]: message.content }, answer };
}

async function ofChain(
  context: ServeContext,
  body: ChatBody,
  variables: RequestVariables,
): Promise<Answered> {
  const { lease, tenant } = variables;
  const chain = context.chains.get(
    checkName("chain", body.model.slice(chainPrefix.length), "model"),
    "model",
  );
  refuseForChain(body);
  const { inputs, answer } = chatOfChain(chain, body);
  const started = await startRun(context, { chain: chain.chain, inputs, tenant, signal: lease.signal });
  const head = answerHead("chatcmpl", body.model, chain.chain.definition.model.info.contentHash);
  return replyWithRun(context, started, { format: chatFormat, head, body }, answer);
}

export const chatCompletions: Route = {
  method: "post",
  path: "/v1/chat/completions",
  config: {
    operationId: "createChatCompletion",
    summary: "Answer a conversation",
    request: jsonRequest(chatSchema),
    responses: { 200: answerOrStream("The answer", chatAnswerSchema), ...generatingErrors },
  },
  async handle(context, c, variables) {
    const given = await readJson(c, variables.incoming, context.options.maxBodyBytes);
    refuse(given, chatRefusals);
    refuseMessages(given);
    const body = checkBody(chatSchema, given);
    return body.model.startsWith(chainPrefix)
      ? ofChain(context, body, variables)
      : ofModel(context, body, variables);
  },
};
