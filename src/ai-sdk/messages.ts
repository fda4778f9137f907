// SPDX-License-Identifier: Apache-2.0
// AI SDK's messages as a chat template reads them. Texts go through; what is no text is an error, since a model that never
// saw it would answer as if it had. A text file is its text.

import type { ChatMessage, ChatToolCall } from "../index.js";
import { templateId } from "../model/tools/template.js";
import { unsupported } from "./errors.js";
import type { FilePart, Message, MessagePart, ToolCallPart, ToolResultPart } from "./spec.js";

const decoder = new TextDecoder();

/** Bytes of base64. */
const bytesOf = (data: string) => Uint8Array.from(Buffer.from(data, "base64"));

function textOfFile({ data, mediaType }: FilePart): string {
  const tagged = data as { type?: unknown; data?: unknown; text?: unknown };
  const isTagged = typeof data === "object" && data !== null && "type" in data;
  if (isTagged && tagged.type === "text" && typeof tagged.text === "string") return tagged.text;
  const content = isTagged && tagged.type === "data" ? tagged.data : data;
  const isText = mediaType === "text" || mediaType.startsWith("text/") || mediaType === "application/json";
  if (isText && content instanceof Uint8Array) return decoder.decode(content);
  if (isText && typeof content === "string") return decoder.decode(bytesOf(content));
  throw unsupported(
    `file of type ${mediaType}`,
    `The prompt has a file of type ${mediaType}, and the model reads text alone. Leave it out, or give its text: files ` +
      "of type text/* and application/json are read, as data and not as a URL.",
  );
}

/** Texts and text files of a message, joined; `kind` besides them is left to the caller. */
export function textOf(parts: readonly MessagePart[], separator = "\n"): string {
  return parts
    .flatMap((part) => {
      if (part.type === "text") return [part.text];
      return part.type === "file" ? [textOfFile(part)] : [];
    })
    .join(separator);
}

/** What a tool gave, as text: what is no text is JSON. */
export function textOfResult({ output, toolName }: ToolResultPart): string {
  switch (output.type) {
    case "text":
    case "error-text":
      return output.value;
    case "json":
    case "error-json":
      return JSON.stringify(output.value) ?? "null";
    case "execution-denied":
      return output.reason ?? "The call was not allowed.";
    case "content":
      return output.value
        .map(({ type, text }) => {
          if (type === "text" && text !== undefined) return text;
          throw unsupported(
            `tool result of type ${type}`,
            `A result of the tool "${toolName}" has a part of type ${type}, and the model reads text alone. Let the tool ` +
              "give text or JSON.",
          );
        })
        .join("\n");
  }
}

const callOf = ({ toolCallId, toolName, input }: ToolCallPart): ChatToolCall => ({
  id: templateId(toolCallId),
  type: "function",
  function: { name: toolName, arguments: input ?? {} }, // another model may have left it as text
});

const resultOf = (part: ToolResultPart): ChatMessage => ({
  role: "tool",
  content: textOfResult(part),
  tool_call_id: templateId(part.toolCallId),
  name: part.toolName,
});

function assistantMessage(parts: readonly MessagePart[]): ChatMessage {
  const calls = parts.filter((part) => part.type === "tool-call").map(callOf);
  const reasoning = parts.flatMap((part) => (part.type === "reasoning" ? [part.text] : [])).join("");
  return {
    role: "assistant",
    content: textOf(parts, ""),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
    ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
  };
}

/** In order. Throws UnsupportedFunctionalityError. */
export function chatMessages(prompt: readonly Message[]): ChatMessage[] {
  return prompt.flatMap((message): ChatMessage[] => {
    if (message.role === "system") return [{ role: "system", content: message.content }];
    const { role, content } = message;
    const results = content.filter((part) => part.type === "tool-result").map(resultOf);
    if (role === "tool") return results;
    if (role === "assistant") return [assistantMessage(content), ...results];
    return [{ role, content: textOf(content) }];
  });
}
