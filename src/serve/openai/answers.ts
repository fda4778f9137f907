// SPDX-License-Identifier: Apache-2.0
// Answers in OpenAI's formats: chat completions and completions, whole and in chunks.
//
// Of a chunk nothing but the text changes, so what stands around it is made once: a token costs one JSON string.

import { randomUUID } from "node:crypto";
import type { FinishReason, OutputDelta, TokenCandidate, TokenLogprob } from "../../index.js";
import type { ReadCall } from "../../model/tools/index.js";
import { callId } from "../../model/tools/index.js";
import { dataOf } from "../sse.js";
import type { Usage } from "./usage.js";

export interface AnswerHead {
  id: string;
  created: number;
  model: string;
  system_fingerprint: string;
}

/** `kind`: "chatcmpl", "cmpl". */
export function answerHead(kind: string, model: string, contentHash: string): AnswerHead {
  return {
    id: `${kind}-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model,
    system_fingerprint: `fp_${contentHash.slice(0, 12)}`,
  };
}

export interface Output {
  text: string;
  reason: FinishReason;
  logprobs?: readonly TokenLogprob[];
  /** Of tools, where it may call some. */
  calls?: readonly ReadCall[];
}

/** One of the two formats. */
export interface AnswerFormat {
  whole(head: AnswerHead, output: Output, usage: Usage): object;
  /** Makes the events of a stream. */
  stream(head: AnswerHead, withUsage: boolean): AnswerStream;
}

export interface AnswerStream {
  /** Before all text; "": nothing is. */
  begin(): string;
  delta(delta: OutputDelta): string;
  /** A call of a tool, whole; of a format without calls: nothing. */
  call(call: ReadCall): string;
  /** The reason, and the usage if it was asked for. */
  end(reason: FinishReason, usage: Usage): string;
}

const finishReason = (reason: FinishReason, calls = 0) => {
  if (calls > 0) return "tool_calls";
  return reason === "length" ? "length" : "stop";
};

/** Ids are such as every chat template takes when they come back. */
const toolCall = ({ name, input }: ReadCall) => ({
  id: callId(),
  type: "function",
  function: { name, arguments: input },
});

function chatToken({ text, logprob }: TokenCandidate) {
  const bytes = text.includes("\ufffd") ? null : [...Buffer.from(text)]; // a part of a character has no text
  return { token: text, logprob, bytes };
}

const chatLogprobs = (logprobs: readonly TokenLogprob[]) => ({
  content: logprobs.map((one) => ({ ...chatToken(one), top_logprobs: one.top.map(chatToken) })),
  refusal: null,
});

function textLogprobs(logprobs: readonly TokenLogprob[], offset: number) {
  let at = offset;
  return {
    tokens: logprobs.map(({ text }) => text),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map(({ top }) =>
      Object.fromEntries(top.map(({ text, logprob }) => [text, logprob])),
    ),
    text_offset: logprobs.map(({ text }) => {
      const here = at;
      at += text.length;
      return here;
    }),
  };
}

/** What stands before and behind the one part of a chunk that changes. */
function around(chunk: (mark: string) => object): [string, string] {
  const mark = randomUUID();
  const [before = "", behind = ""] = dataOf(chunk(mark)).split(JSON.stringify(mark));
  return [before, behind];
}

export const chatFormat: AnswerFormat = {
  whole: (head, { text, reason, logprobs, calls = [] }, usage) => ({
    ...head,
    object: "chat.completion",
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: text === "" && calls.length > 0 ? null : text,
          refusal: null,
          ...(calls.length > 0 && { tool_calls: calls.map(toolCall) }),
        },
        logprobs: logprobs === undefined ? null : chatLogprobs(logprobs),
        finish_reason: finishReason(reason, calls.length),
      },
    ],
    usage,
  }),
  stream(head, withUsage) {
    const usageNow = withUsage ? { usage: null } : {};
    const chunk = (delta: object, finish: string | null, logprobs: object | null = null) => ({
      ...head,
      object: "chat.completion.chunk",
      choices: [{ index: 0, delta, logprobs, finish_reason: finish }],
      ...usageNow,
    });
    const [before, behind] = around((content) => chunk({ content }, null));
    let calls = 0;
    return {
      begin: () => dataOf(chunk({ role: "assistant", content: "" }, null)),
      delta: ({ text, logprobs }) =>
        logprobs === undefined
          ? before + JSON.stringify(text) + behind
          : dataOf(chunk({ content: text }, null, chatLogprobs(logprobs))),
      call(call) {
        const index = calls;
        calls += 1;
        return dataOf(chunk({ tool_calls: [{ index, ...toolCall(call) }] }, null));
      },
      end: (reason, usage) =>
        dataOf(chunk({}, finishReason(reason, calls))) +
        (withUsage ? dataOf({ ...head, object: "chat.completion.chunk", choices: [], usage }) : ""),
    };
  },
};

export const textFormat: AnswerFormat = {
  whole: (head, { text, reason, logprobs }, usage) => ({
    ...head,
    object: "text_completion",
    choices: [
      {
        index: 0,
        text,
        logprobs: logprobs === undefined ? null : textLogprobs(logprobs, 0),
        finish_reason: finishReason(reason),
      },
    ],
    usage,
  }),
  stream(head, withUsage) {
    const usageNow = withUsage ? { usage: null } : {};
    const chunk = (text: string, finish: string | null, logprobs: object | null = null) => ({
      ...head,
      object: "text_completion",
      choices: [{ index: 0, text, logprobs, finish_reason: finish }],
      ...usageNow,
    });
    const [before, behind] = around((text) => chunk(text, null));
    let length = 0;
    return {
      begin: () => "",
      delta({ text, logprobs }) {
        const offset = length;
        length += text.length;
        if (logprobs === undefined) return before + JSON.stringify(text) + behind;
        return dataOf(chunk(text, null, textLogprobs(logprobs, offset)));
      },
      call: () => "",
      end: (reason, usage) =>
        dataOf(chunk("", finishReason(reason))) +
        (withUsage ? dataOf({ ...head, object: "text_completion", choices: [], usage }) : ""),
    };
  },
};
