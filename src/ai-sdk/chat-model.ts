// SPDX-License-Identifier: Apache-2.0
// A loaded model as a language model of AI SDK: messages through its chat template, the answer behind their rows.

import type {
  FinishReason,
  Generation,
  GenerationOptions,
  GenerationResult,
  Model,
  OutputSchema,
} from "../index.js";
import { ConstraintInvalidError, ConstraintUnavailableError, OutputInvalidError } from "../index.js";
import type { CallReader } from "../model/tools/index.js";
import { closeTag } from "../model/tools/index.js";
import { batonOptions, functionTools, generationOptions, warnUnsupported } from "./call-settings.js";
import type { ChatFormat } from "./chat-format.js";
import type { InputRows, Prefilled } from "./conversation.js";
import { prefill } from "./conversation.js";
import type { Call, Outcome } from "./language-model.js";
import type { CallOptions, ContentPart, FunctionTool, JsonObject, Usage, Warning } from "./spec.js";
import { TextWriter } from "./text-writer.js";

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

/** A call that the answer must be. */
interface Forced {
  opener: string;
  /** The one that it must be of; null: any. */
  tool: FunctionTool | null;
  /** Nothing follows it. */
  only: boolean;
}

function forcedCall(
  { toolChoice }: CallOptions,
  tools: readonly FunctionTool[],
  format: ChatFormat,
): Forced | null {
  if (tools.length === 0 || (toolChoice?.type !== "required" && toolChoice?.type !== "tool")) return null;
  const named = toolChoice.type === "tool" ? tools.filter(({ name }) => name === toolChoice.toolName) : tools;
  const tool = named.length === 1 ? (named[0] ?? null) : null;
  const opener = format.tools.opener(tool?.name ?? null);
  return { opener, tool, only: toolChoice.type === "tool" };
}

interface Constraint {
  /** What the text must be. */
  output: OutputSchema;
  /** The setting that asks for it. */
  feature: "responseFormat" | "toolChoice";
}

const notHeld = {
  responseFormat: "The model is asked for JSON in its prompt; what it writes is not held to it",
  toolChoice: "The answer is begun as a call; its arguments are what the model writes",
};

/** Pushes a warning for what is asked of the text and cannot be held; null: nothing, or that. */
function constraintOf(
  options: CallOptions,
  forced: Forced | null,
  tools: readonly FunctionTool[],
  warnings: Warning[],
): Constraint | null {
  const { responseFormat, stopSequences = [] } = options;
  const json = responseFormat?.type === "json";
  const feature = forced !== null ? "toolChoice" : "responseFormat";
  if (forced === null && !json) return null;
  const blocked = (why: string): null => {
    warnings.push({ type: "compatibility", feature, details: `${notHeld[feature]}: ${why}.` });
    return null;
  };
  if (stopSequences.some((text) => text !== ""))
    return blocked("a text that is held to a schema has no stop sequences");
  if (forced !== null) {
    if (forced.tool === null) return blocked("there are several tools that it may call");
    return { output: { jsonSchema: forced.tool.inputSchema as object }, feature };
  }
  if (tools.length > 0) return blocked("it may call a tool instead");
  return { output: { jsonSchema: ((json && responseFormat.schema) || true) as object | boolean }, feature };
}

function warningsOf(options: CallOptions, tools: readonly FunctionTool[], format: ChatFormat): Warning[] {
  const warnings: Warning[] = [];
  const { reasoning } = options;
  if (reasoning !== undefined && reasoning !== "provider-default" && !format.knowsThinking) {
    warnUnsupported(warnings, options, { reasoning: "The model's chat template cannot switch thinking." });
  }
  if (tools.length > 0 && !format.knowsTools) {
    const details =
      "The model's chat template knows no tools: they stand in the system message, calls and results in texts.";
    warnings.push({ type: "compatibility", feature: "tools", details });
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

/** An answer that has begun. */
interface Writing {
  settings: GenerationOptions;
  generation: Generation;
  texts: AsyncIterator<string, undefined>;
  first: IteratorResult<string, undefined>;
}

interface Answering extends Writing {
  prefilled: Prefilled;
  /** Null without tools. */
  reader: CallReader | null;
  /** What it is begun with, part of the call that it becomes; "": nothing. */
  opener: string;
  /** What is missing of the call when the text has ended as it was to; "": nothing. */
  closer: string;
}

function factsOf({ usage, logprobs }: GenerationResult, { seed }: GenerationOptions): JsonObject {
  return {
    ...usage,
    ...(seed === undefined ? {} : { seed }),
    ...(logprobs === undefined ? {} : { logprobs: JSON.parse(JSON.stringify(logprobs)) }),
  };
}

/** The rest of the text, as it comes; how it ended. A text that was to be held to a schema may have been cut off. */
async function* rest({ texts, first, generation, prefilled }: Answering): AsyncGenerator<string, Ended> {
  try {
    for (let next = first; !next.done; next = await texts.next()) yield next.value;
    const result = await generation.result;
    prefilled.wrote(result.tokens);
    return { reason: result.reason, tokens: result.tokens.length, result };
  } catch (error) {
    if (!OutputInvalidError.isInstance(error)) throw error;
    return { reason: "length", tokens: prefilled.handle.rows - prefilled.rows.total, result: null };
  }
}

interface Ended {
  reason: FinishReason;
  tokens: number;
  /** Null if it was cut off. */
  result: GenerationResult | null;
}

async function* answer(answering: Answering): AsyncGenerator<ContentPart, Outcome> {
  const { prefilled, settings, texts, reader, opener, closer } = answering;
  const writer = new TextWriter();
  try {
    if (reader !== null && opener !== "") yield* writer.write(reader.push(opener));
    const written = rest(answering);
    let next = await written.next();
    for (; !next.done; next = await written.next()) {
      yield* writer.write(reader?.push(next.value) ?? [{ text: next.value }]);
    }
    const { reason, tokens, result } = next.value;
    if (reason !== "length" && closer !== "") yield* writer.write(reader?.push(closer) ?? []);
    if (reader !== null) yield* writer.write(reader.end());
    yield* writer.end();
    const unified = writer.calls > 0 ? "tool-calls" : unifiedOf[reason];
    const facts = result === null ? {} : factsOf(result, settings);
    return { finishReason: { unified, raw: reason }, usage: usageOf(prefilled.rows, tokens), facts };
  } finally {
    await texts.return?.();
    prefilled.release();
  }
}

/** Starts to write; resolves with the first text, so that what fails before it fails the call. */
async function write(prefilled: Prefilled, settings: GenerationOptions): Promise<Writing> {
  const generation = prefilled.handle.generate(settings);
  const texts = generation[Symbol.asyncIterator]();
  return { settings, generation, texts, first: await texts.next() };
}

/** Held to the constraint if there is a way; otherwise as `settings` are, with a warning. */
async function writeHeld(
  prefilled: Prefilled,
  settings: GenerationOptions,
  constraint: Constraint | null,
  warnings: Warning[],
): Promise<Writing & { held: boolean }> {
  if (constraint === null) return { ...(await write(prefilled, settings)), held: false };
  const { output, feature } = constraint;
  const { stop: _, ...free } = settings;
  try {
    return { ...(await write(prefilled, { ...free, output })), held: true };
  } catch (error) {
    const cannot = ConstraintInvalidError.isInstance(error) || ConstraintUnavailableError.isInstance(error);
    if (!cannot) throw error;
    const details = `${notHeld[feature]}. ${(error as Error).message}`;
    warnings.push({ type: "compatibility", feature, details });
    return { ...(await write(prefilled, settings)), held: false };
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
  const { prompt: messages, reasoning, experimental_session: store } = options;
  const { session: id = null, salt = usualSalt, prompt = null } = own;
  const ids = format.encode(messages, tools, { instructions: formatInstructions(options), reasoning });
  const forced = forcedCall(options, tools, format);
  const constraint = constraintOf(options, forced, tools, warnings);
  const begun = model.tokenizer.encode(forced?.opener ?? "", { specials: true });
  const settings = generationOptions(options, own, model.info.contextLength);
  if (forced?.only) settings.stop = [...(settings.stop ?? []), closeTag];
  const prefilled = await prefill({ model, id, store, salt }, { prompt, ids: [...ids, ...begun] }, signal);
  try {
    const { held, ...writing } = await writeHeld(prefilled, { ...settings, signal }, constraint, warnings);
    const reader = tools.length === 0 ? null : format.tools.reader(tools.map(({ name }) => name));
    const missing = held ? format.tools.closer : forced?.only ? closeTag : "";
    const closer = forced === null ? "" : missing;
    const opener = model.tokenizer.decode(begun);
    const parts = answer({ ...writing, prefilled, reader, opener, closer });
    const release = () => {
      void writing.texts.return?.();
      prefilled.release();
    };
    return { warnings, parts, release };
  } catch (error) {
    prefilled.release();
    throw error;
  }
}
