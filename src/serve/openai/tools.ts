// SPDX-License-Identifier: Apache-2.0
// `tools` and `tool_choice`: what the model is told of, and how an answer that must be a call is begun and held to the
// tool's schema.

import { z } from "@hono/zod-openapi";
import type { ChatTool, FinishReason } from "../../index.js";
import type { CallReader, Piece, ToolFormat } from "../../model/tools/index.js";
import { Blanks } from "../../model/tools/index.js";
import { didYouMean } from "../../suggest.js";
import { ServeError } from "../errors.js";

const name = z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/);

export const toolsField = z
  .array(
    z.strictObject({
      type: z.literal("function"),
      function: z.strictObject({
        name,
        description: z.string().nullish(),
        parameters: z.looseObject({}).nullish().openapi({ description: "JSON Schema of the arguments" }),
        strict: z.boolean().nullish().openapi({ description: "Taken, without effect" }),
      }),
    }),
  )
  .max(128)
  .nullish();

export const toolChoiceField = z
  .union([
    z.enum(["none", "auto", "required"]),
    z.strictObject({ type: z.literal("function"), function: z.strictObject({ name }) }),
  ])
  .nullish();

interface ToolFields {
  tools?: z.infer<typeof toolsField>;
  tool_choice?: z.infer<typeof toolChoiceField>;
}

/** A call that the answer must be. */
export interface ForcedCall {
  /** The one that it must be of; null: any. */
  tool: ChatTool | null;
  /** Of the tool's schema, for messages. */
  param: string;
}

export interface ToolUse {
  /** That the model is told of. */
  tools: ChatTool[];
  forced: ForcedCall | null;
}

const wrongChoice = (message: string) =>
  new ServeError(400, "invalid_value", message, { param: "tool_choice" });

const none = { type: "object", properties: {} };

/** Throws ServeError for a choice of what is not there, and for two tools of one name. */
export function toolUseOf({ tools: given, tool_choice: choice }: ToolFields): ToolUse {
  const tools = (given ?? []).map(
    ({ function: { name, description, parameters } }): ChatTool => ({
      type: "function",
      function: { name, ...(description != null && { description }), parameters: parameters ?? none },
    }),
  );
  const names = tools.map((one) => one.function.name);
  const twice = names.findIndex((one, at) => names.indexOf(one) !== at);
  if (twice >= 0)
    throw new ServeError(400, "invalid_value", `\`tools\` has two of the name ${names[twice]}. Rename one.`, {
      param: `tools[${twice}].function.name`,
    });
  if (choice === "none") return { tools: [], forced: null };
  if (choice == null || choice === "auto") return { tools, forced: null };
  if (tools.length === 0)
    throw wrongChoice("`tool_choice` asks for a call, and there are no `tools`. Give some, or leave it out.");
  const wanted = choice === "required" ? null : choice.function.name;
  const at = wanted === null ? (tools.length === 1 ? 0 : -1) : names.indexOf(wanted);
  if (wanted !== null && at < 0)
    throw wrongChoice(
      `\`tool_choice\` is ${wanted}, and \`tools\` has ${names.join(", ")}. Name one of them.${didYouMean(wanted, names)}`,
    );
  return { tools, forced: { tool: tools[at] ?? null, param: `tools[${at}].function.parameters` } };
}

/** What the text of an answer is read by, as it comes. */
export class ToolReply {
  readonly #reader: CallReader;
  readonly #blanks = new Blanks();
  readonly #opener: string;
  readonly #closer: string;

  /** `opener`: what the answer was begun with, part of the call that it becomes; `closer`: what is missing of it then. */
  constructor({ reader }: ToolFormat, tools: readonly ChatTool[], opener = "", closer = "") {
    this.#reader = reader(tools.map((one) => one.function.name));
    this.#opener = opener;
    this.#closer = closer;
  }

  begin(): Piece[] {
    return this.#opener === "" ? [] : this.push(this.#opener);
  }

  push(text: string): Piece[] {
    return [...this.#blanks.push(this.#reader.push(text))];
  }

  end(reason: FinishReason): Piece[] {
    const closed = reason === "length" || this.#closer === "" ? [] : this.push(this.#closer);
    return [...closed, ...this.#blanks.push(this.#reader.end()), ...this.#blanks.end()];
  }
}
