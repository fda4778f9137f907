// SPDX-License-Identifier: Apache-2.0
// A loaded model as a language model of AI SDK: messages through its chat template, the answer behind their rows.

import type { Generation, GenerationOptions, GenerationResult, Model } from "../index.js";
import { batonOptions, functionTools, generationOptions, warnUnsupported } from "./call-settings.js";
import type { ChatFormat } from "./chat-format.js";
import type { InputRows, Prefilled } from "./conversation.js";
import { prefill } from "./conversation.js";
import type { Call, Outcome } from "./language-model.js";
import type { CallOptions, ContentPart, FunctionTool, JsonObject, Usage, Warning } from "./spec.js";
import { TextWriter } from "./text-writer.js";
import type { CallReader } from "./tools/index.js";
import { closeTag } from "./tools/index.js";

export interface ChatSettings {
  model: Model;
  format: ChatFormat;
  /** Of calls that name none. */
  salt: string | undefined;
}

/** What the model is told of the format of its answer; null: nothing. */
function formatInstructions({ responseFormat }: CallOptions): string | null {
  if (responseFormat?.type !== "json") return null;
  const { schema, name, description } = responseFormat;
  const what = [name, description].filter((one) => one !== undefined).join(": ");
  return [
    `Answer with JSON and nothing else${what === "" ? "" : ` (${what})`}.`,
    ...(schema === undefined ? [] : [`It has to match this JSON schema:\n${JSON.stringify(schema)}`]),
  ].join(" ");
}

/** How a call that must be one of a tool begins; null: it may be anything. */
function forcedOpener({ toolChoice }: CallOptions, tools: readonly FunctionTool[], format: ChatFormat) {
  if (toolChoice?.type === "tool") return format.tools.opener(toolChoice.toolName);
  if (toolChoice?.type !== "required" || tools.length === 0) return null;
  return format.tools.opener(tools.length === 1 ? (tools[0]?.name ?? null) : null);
}

function warningsOf(options: CallOptions, tools: readonly FunctionTool[], format: ChatFormat): Warning[] {
  const warnings: Warning[] = [];
  const { reasoning, responseFormat, toolChoice } = options;
  if (reasoning !== undefined && reasoning !== "provider-default" && !format.knowsThinking) {
    warnUnsupported(warnings, options, { reasoning: "The model's chat template cannot switch thinking." });
  }
  if (responseFormat?.type === "json") {
    const details = "The model is asked for JSON in its prompt; what it writes is not constrained to it.";
    warnings.push({ type: "compatibility", feature: "responseFormat", details });
  }
  if (tools.length > 0 && !format.knowsTools) {
    const details =
      "The model's chat template knows no tools: they stand in the system message, calls and results in texts.";
    warnings.push({ type: "compatibility", feature: "tools", details });
  }
  if (toolChoice?.type === "required" || toolChoice?.type === "tool") {
    const details = "The answer is begun as a call; the arguments are what the model says.";
    warnings.push({ type: "compatibility", feature: "toolChoice", details });
  }
  return warnings;
}

export function usageOf({ total, computed, held }: InputRows, outputTokens: number): Usage {
  return {
    inputTokens: {
      total,
      noCache: held ? 0 : computed,
      cacheRead: total - computed,
      cacheWrite: held ? computed : 0,
    },
    outputTokens: { total: outputTokens, text: outputTokens, reasoning: 0 },
    raw: { rows: total, rowsComputed: computed, rowsReused: total - computed },
  };
}

const unifiedOf = { closed: "stop", stop: "stop", length: "length" } as const;

/** An answer that has begun: what it is begun with is no text of the model, but part of the call that it becomes. */
interface Answering {
  prefilled: Prefilled;
  settings: GenerationOptions;
  generation: Generation;
  texts: AsyncIterator<string, undefined>;
  first: IteratorResult<string, undefined>;
  /** Null without tools. */
  reader: CallReader | null;
  /** "": nothing. */
  opener: string;
  /** Only one call is asked for: its closing tag ends the output, and is no part of it. */
  only: boolean;
}

function factsOf({ usage, logprobs }: GenerationResult, { seed }: GenerationOptions): JsonObject {
  return {
    ...usage,
    ...(seed === undefined ? {} : { seed }),
    ...(logprobs === undefined ? {} : { logprobs: JSON.parse(JSON.stringify(logprobs)) }),
  };
}

async function* answer(answering: Answering): AsyncGenerator<ContentPart, Outcome> {
  const { prefilled, settings, generation, texts, reader, opener, only } = answering;
  const writer = new TextWriter();
  try {
    if (reader !== null && opener !== "") yield* writer.write(reader.push(opener));
    for (let next = answering.first; !next.done; next = await texts.next()) {
      yield* writer.write(reader?.push(next.value) ?? [{ text: next.value }]);
    }
    const result = await generation.result;
    prefilled.wrote(result.tokens);
    if (only && result.reason === "stop") yield* writer.write(reader?.push(closeTag) ?? []);
    if (reader !== null) yield* writer.write(reader.end());
    yield* writer.end();
    const { reason, tokens } = result;
    const unified = writer.calls > 0 ? "tool-calls" : unifiedOf[reason];
    const usage = usageOf(prefilled.rows, tokens.length);
    return { finishReason: { unified, raw: reason }, usage, facts: factsOf(result, settings) };
  } finally {
    await texts.return?.();
    prefilled.release();
  }
}

/** Starts to write; resolves with the first text, so that what fails before it fails the call. */
async function begin(
  prefilled: Prefilled,
  settings: GenerationOptions,
  signal: AbortSignal,
): Promise<Pick<Answering, "settings" | "generation" | "texts" | "first">> {
  try {
    const generation = prefilled.handle.generate({ ...settings, signal });
    const texts = generation[Symbol.asyncIterator]();
    return { settings, generation, texts, first: await texts.next() };
  } catch (error) {
    prefilled.release();
    throw error;
  }
}

/** Rejects as `append` and `generate` of a handle; TEMPLATE_INVALID, UnsupportedFunctionalityError. */
export async function beginChat(
  { model, format, salt: usualSalt }: ChatSettings,
  options: CallOptions,
  signal: AbortSignal,
): Promise<Call> {
  const warnings: Warning[] = [];
  const own = batonOptions(options, warnings);
  const tools = functionTools(options, warnings);
  warnings.push(...warningsOf(options, tools, format));
  const { prompt: messages, reasoning, toolChoice, experimental_session: store } = options;
  const { session: id = null, salt = usualSalt, prompt = null } = own;
  const ids = format.encode(messages, tools, { instructions: formatInstructions(options), reasoning });
  const opener = forcedOpener(options, tools, format) ?? "";
  const forced = model.tokenizer.encode(opener, { specials: true });
  const input = { prompt, ids: [...ids, ...forced] };
  const prefilled = await prefill({ model, id, store, salt }, input, signal);
  const only = toolChoice?.type === "tool";
  const settings = generationOptions(options, own, model.info.contextLength);
  if (only) settings.stop = [...(settings.stop ?? []), closeTag];
  const begun = await begin(prefilled, settings, signal);
  const parts = answer({
    prefilled,
    ...begun,
    reader: tools.length === 0 ? null : format.tools.reader(tools.map(({ name }) => name)),
    opener: model.tokenizer.decode(forced),
    only,
  });
  const release = () => {
    void begun.texts.return?.();
    prefilled.release();
  };
  return { warnings, parts, release };
}
