// SPDX-License-Identifier: Apache-2.0
// What has begun as an answer: one JSON value, or a stream of events. A failure in the middle of a stream is its last
// event, in the shape of every other error, and no `[DONE]` follows it.

import type { FinishReason, GenerationResult, OutputDelta, TokenLogprob } from "../index.js";
import { OutputInvalidError } from "../index.js";
import type { Piece } from "../model/tools/index.js";
import type { StartedCall } from "./calls.js";
import type { StartedRun } from "./chain-runs.js";
import type { ServeContext } from "./context.js";
import { toldFailure } from "./context.js";
import { ClientGoneError } from "./errors.js";
import type { AnswerFormat, AnswerHead, Output } from "./openai/answers.js";
import type { ToolReply } from "./openai/tools.js";
import type { Usage } from "./openai/usage.js";
import type { Answered } from "./sending.js";
import { jsonAnswer } from "./sending.js";
import { dataOf, endOfStream, sseAnswer } from "./sse.js";

export interface Reply {
  format: AnswerFormat;
  /** Reads calls out of the text. */
  tools?: ToolReply;
  head: AnswerHead;
  body: {
    stream?: boolean | null | undefined;
    stream_options?: { include_usage?: boolean | null | undefined } | null | undefined;
  };
}

/** The last event of a stream that failed; nothing for a client that is gone. */
export function failureEvent(context: ServeContext, error: unknown): string {
  if (error instanceof ClientGoneError) return "";
  return dataOf(toldFailure(context, error).body);
}

const withUsage = ({ body }: Reply) => body.stream_options?.include_usage === true;

interface Ended extends Output {
  usage: Usage;
}

/**
 * The end of a call, counted. A text that was held to a schema and was cut off, or that no program could take for what
 * the schema says, is an answer like any other: the reason says how it ended, and the client has asked for the text.
 */
async function ended(
  context: ServeContext,
  { head }: Reply,
  { generation, usage }: StartedCall,
): Promise<Ended> {
  const output = await generation.result.catch((error: unknown) => {
    if (!OutputInvalidError.isInstance(error)) throw error;
    const { text, reason } = error.facts;
    return { text: String(text), reason: reason as FinishReason, usage: null };
  });
  const counted = usage();
  context.metrics.completed(head.model, counted);
  const pace = output.usage;
  if (pace !== null) context.metrics.timed(head.model, pace.timeToFirstTokenMs, pace.tokensPerSecond);
  return { ...output, usage: counted };
}

/** Until it ends, or with an end that `ended` tells. */
async function* deltasOf({ generation }: StartedCall): AsyncGenerator<OutputDelta> {
  try {
    yield* generation.deltas();
  } catch (error) {
    if (!OutputInvalidError.isInstance(error)) throw error;
  }
}

function* some(text: string): Generator<string> {
  if (text !== "") yield text;
}

/** Text and calls of a text that is there. */
function read(tools: ToolReply, { text, reason }: Output): Pick<Output, "text" | "calls"> {
  const pieces = [...tools.begin(), ...tools.push(text), ...tools.end(reason)];
  return {
    text: pieces.map((one) => ("text" in one ? one.text : "")).join(""),
    calls: pieces.flatMap((one) => ("call" in one ? [one.call] : [])),
  };
}

async function* callEvents(
  context: ServeContext,
  started: StartedCall,
  reply: Reply,
): AsyncGenerator<string, undefined> {
  const stream = reply.format.stream(reply.head, withUsage(reply));
  try {
    const begin = stream.begin();
    if (begin !== "") yield begin;
    const { tools } = reply;
    const told = (pieces: readonly Piece[]) =>
      pieces.map((one) => ("call" in one ? stream.call(one.call) : stream.delta(one))).join("");
    if (tools !== undefined) yield* some(told(tools.begin()));
    for await (const delta of deltasOf(started)) {
      if (tools === undefined) yield stream.delta(delta);
      else yield* some(told(tools.push(delta.text)));
    }
    const { reason, usage } = await ended(context, reply, started);
    if (tools !== undefined) yield* some(told(tools.end(reason)));
    yield stream.end(reason, usage) + endOfStream;
  } catch (error) {
    yield failureEvent(context, error);
  }
}

/** The answer of a model. */
export async function replyWithCall(
  context: ServeContext,
  started: StartedCall,
  reply: Reply,
): Promise<Answered> {
  const { format, head, body } = reply;
  if (body.stream === true) return sseAnswer(callEvents(context, started, reply));
  const logprobs: TokenLogprob[] = [];
  // of a text that is cut off they come with the deltas alone
  if (started.held) for await (const delta of deltasOf(started)) logprobs.push(...(delta.logprobs ?? []));
  const { usage, ...output } = await ended(context, reply, started);
  const called = reply.tools === undefined ? {} : read(reply.tools, output);
  const answer = { ...output, ...called, ...(logprobs.length > 0 && { logprobs }) };
  return jsonAnswer(format.whole(head, answer, usage));
}

async function* runEvents(
  context: ServeContext,
  started: StartedRun,
  reply: Reply,
  answer: string,
): AsyncGenerator<string, undefined> {
  const stream = reply.format.stream(reply.head, withUsage(reply));
  try {
    yield stream.begin();
    let end = "";
    for await (const event of started.events) {
      if (event.type === "text-delta" && event.stage === answer) yield stream.delta({ text: event.text });
      else if (event.type === "stage-end" && event.stage === answer)
        end = stream.end(event.reason, started.usage());
    }
    await started.result;
    context.metrics.completed(reply.head.model, started.usage());
    yield end + endOfStream;
  } catch (error) {
    yield failureEvent(context, error);
  }
}

/** The answer of a chain: what its stage `answer` writes. */
export async function replyWithRun(
  context: ServeContext,
  started: StartedRun,
  reply: Reply,
  answer: string,
): Promise<Answered> {
  const { format, head, body } = reply;
  if (body.stream === true) return sseAnswer(runEvents(context, started, reply, answer));
  for await (const event of started.events) void event; // their usages are what is wanted
  const { [answer]: output } = (await started.result) as Readonly<Record<string, GenerationResult>>;
  if (output === undefined) throw new Error(`The chain has no output "${answer}".`);
  const usage = started.usage();
  context.metrics.completed(head.model, usage);
  const { text, reason } = output;
  return jsonAnswer(format.whole(head, { text, reason }, usage));
}
