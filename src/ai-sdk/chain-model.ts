// SPDX-License-Identifier: Apache-2.0
// A chain as a language model of AI SDK: the conversation becomes the chain's inputs, one stage's output the answer. What
// the other stages write is reasoning, if that is asked for; their figures are in the metadata.

import type { ChainEvent, ChainRun, RunOptions, StageUsage } from "../index.js";
import { OptionInvalidError } from "../index.js";
import { didYouMean } from "../suggest.js";
import type { BatonProviderOptions } from "./call-settings.js";
import { batonOptions, warnUnsupported } from "./call-settings.js";
import type { Call, Outcome } from "./language-model.js";
import { textOf, textOfResult } from "./messages.js";
import type { CallOptions, ContentPart, FinishReason, JsonObject, Message, Usage, Warning } from "./spec.js";

/** What of a chain is needed here; every `Chain` is one. */
export interface ChainLike<Stage extends string = string, Given extends string = string> {
  readonly inputs: readonly Given[];
  readonly stages: readonly Stage[];
  run(inputs: Readonly<Record<Given, string>>, options?: RunOptions): ChainRun<string, unknown>;
}

/** The messages of a call as texts. */
export interface ChainConversation {
  /** Of the user's last message. */
  text: string;
  messages: readonly { role: Message["role"]; text: string }[];
}

export interface ChainSettings<Stage extends string = string, Given extends string = string> {
  /**
   * The input that takes the user's last message, or a function from the conversation to inputs. Default: the one input
   * that has no value yet.
   */
  input?: Given | ((conversation: ChainConversation) => Readonly<Partial<Record<Given, string>>>);
  /** Values of inputs for every call; `providerOptions.baton.inputs` has those of one. */
  inputs?: Readonly<Partial<Record<Given, string>>>;
  /** The stage whose output is the answer. Default: the last one that stands in no group. */
  output?: Stage;
  /** What other stages write is reasoning of the answer. Default false: it is seen in the metadata alone. */
  reasoning?: boolean;
}

export interface ChainModel {
  chain: ChainLike;
  settings: ChainSettings;
  /** Of calls that name none. */
  salt: string | undefined;
}

function conversationOf(prompt: readonly Message[]): ChainConversation {
  const messages = prompt.map(({ role, content }) => {
    if (typeof content === "string") return { role, text: content };
    const results = content.flatMap((part) => (part.type === "tool-result" ? [textOfResult(part)] : []));
    return { role, text: [textOf(content), ...results].filter((text) => text !== "").join("\n") };
  });
  return { text: messages.findLast(({ role }) => role === "user")?.text ?? "", messages };
}

/** Throws OPTION_INVALID if it is not clear which input takes the message. */
function inputsOf(
  { chain, settings }: ChainModel,
  { inputs: own = {} }: BatonProviderOptions,
  { prompt }: CallOptions,
  warnings: Warning[],
): Record<string, string> {
  const fixed = { ...settings.inputs, ...own } as Record<string, string>;
  const conversation = conversationOf(prompt);
  if (typeof settings.input === "function") {
    return { ...fixed, ...(settings.input(conversation) as Record<string, string>) };
  }
  const open = chain.inputs.filter((name) => fixed[name] === undefined);
  const name = settings.input ?? (open.length === 1 ? open[0] : undefined);
  if (name === undefined) {
    throw new OptionInvalidError(
      `The chain takes ${open.length === 0 ? "no input that has no value yet" : `the inputs ${open.join(", ")}`}, so it is ` +
        "not clear what becomes of the user's message. Name one as `input`, or give a function from the conversation to " +
        "inputs.",
      { facts: { option: "input", available: [...chain.inputs] } },
    );
  }
  const others = conversation.messages.length - 1;
  if (others > 0) {
    const message = `The chain reads the user's last message; ${others} other messages are left out. Give \`input\` as a function to read them.`;
    warnings.push({ type: "other", message });
  }
  return { ...fixed, [name]: conversation.text };
}

const own = "A chain's stages have their own.";
const unsupported = {
  maxOutputTokens: own,
  temperature: own,
  topP: own,
  topK: own,
  presencePenalty: own,
  frequencyPenalty: own,
  seed: own,
  stopSequences: own,
  tools: "A chain calls none.",
  experimental_session: "A chain's KV is found by its content.",
};

function warn(options: CallOptions, baton: BatonProviderOptions, warnings: Warning[]): void {
  const { responseFormat, reasoning, tools, stopSequences } = options;
  const given = {
    ...options,
    tools: tools?.length ? tools : undefined,
    stopSequences: stopSequences?.length ? stopSequences : undefined,
    reasoning: reasoning === "provider-default" ? undefined : reasoning,
    responseFormat: responseFormat?.type === "json" ? responseFormat : undefined,
  };
  warnUnsupported(warnings, given, { ...unsupported, reasoning: own, responseFormat: own });
  for (const name of ["prompt", "session", "minP", "repetitionPenalty", "logprobs"] as const) {
    if (baton[name] === undefined) continue;
    warnings.push({ type: "unsupported", feature: `providerOptions.baton.${name}`, details: own });
  }
}

type StageEnd = Extract<ChainEvent, { type: "stage-end" }>;

/** Rows of inputs and prompts: those of outputs are told as tokens. The last token of a cut output is no row yet. */
function inputRows({ rowsComputed, rowsReused, tokens }: StageUsage, closed: boolean) {
  const computed = Math.max(0, rowsComputed - (closed ? tokens : Math.max(0, tokens - 1)));
  return { computed, reused: rowsReused };
}

function usageOf(ends: readonly StageEnd[], output: string): Usage {
  const rows = ends.map(({ usage, reason }) => inputRows(usage, reason === "closed"));
  const sum = (values: readonly number[]) => values.reduce((total, one) => total + one, 0);
  const computed = sum(rows.map((one) => one.computed));
  const reused = sum(rows.map((one) => one.reused));
  const total = sum(ends.map(({ usage }) => usage.tokens));
  const text = sum(ends.filter(({ stage }) => stage === output).map(({ usage }) => usage.tokens));
  return {
    inputTokens: { total: computed + reused, noCache: computed, cacheRead: reused, cacheWrite: 0 },
    outputTokens: { total, text, reasoning: total - text },
    raw: { rowsComputed: sum(ends.map(({ usage }) => usage.rowsComputed)), rowsReused: reused },
  };
}

function finishReasonOf(end: StageEnd | undefined): FinishReason {
  const reason = end?.reason ?? "closed";
  return { unified: reason === "length" ? "length" : "stop", raw: reason };
}

/** `events`: of the run, `first` the first one that is no warning. */
async function* answer(
  events: AsyncIterator<ChainEvent, undefined>,
  first: IteratorResult<ChainEvent, undefined>,
  { output, reasoning }: { output: string; reasoning: boolean },
): AsyncGenerator<ContentPart, Outcome> {
  const ends: StageEnd[] = [];
  const open = new Set<string>();
  try {
    for (let { done, value: event } = first; !done; { done, value: event } = await events.next()) {
      if (event?.type !== "text-delta" && event?.type !== "stage-end") continue;
      const kind = event.stage === output ? "text" : "reasoning";
      const id = event.stage;
      const shown = kind === "text" || reasoning;
      if (shown && event.type === "text-delta") {
        if (!open.has(id)) yield { type: `${kind}-start`, id };
        open.add(id);
        yield { type: `${kind}-delta`, id, delta: event.text };
      } else if (event.type === "stage-end") {
        ends.push(event);
        if (open.delete(id)) yield { type: `${kind}-end`, id };
      }
    }
  } finally {
    await events.return?.();
  }
  const finishReason = finishReasonOf(ends.find(({ stage }) => stage === output));
  const stages: JsonObject = Object.fromEntries(
    ends.map(({ stage, text, reason, usage }) => [stage, { text, reason, usage: { ...usage } }]),
  );
  return { finishReason, usage: usageOf(ends, output), facts: { stages } };
}

/** The stage whose output is the answer. Throws OPTION_INVALID. */
export function outputOf(chain: ChainLike, { output }: ChainSettings): string {
  const name = output ?? chain.stages.at(-1);
  if (name !== undefined && chain.stages.includes(name)) return name;
  throw new OptionInvalidError(
    `The chain has no stage ${name === undefined ? "outside of groups, whose output could be the answer" : `"${name}"`}. ` +
      `Name one that stands in no group as \`output\`, or end the chain with one.${didYouMean(name, chain.stages)}`,
    { facts: { option: "output", value: String(output), available: [...chain.stages] } },
  );
}

/** Rejects as a run of the chain does, until its first stage starts. */
export async function beginChain(
  model: ChainModel,
  options: CallOptions,
  signal: AbortSignal,
): Promise<Call> {
  const { chain, settings } = model;
  const warnings: Warning[] = [];
  const baton = batonOptions(options, warnings);
  const output = outputOf(chain, settings);
  warn(options, baton, warnings);
  const salt = baton.salt ?? model.salt;
  const inputs = inputsOf(model, baton, options, warnings);
  const run = chain.run(inputs, { signal, ...(salt === undefined ? {} : { salt }) });
  const events = run[Symbol.asyncIterator]();
  let first = await events.next();
  while (first.value?.type === "warning") {
    const { stage, message } = first.value;
    warnings.push({ type: "other", message: `Stage "${stage}": ${message}` });
    first = await events.next();
  }
  const parts = answer(events, first, { output, reasoning: settings.reasoning ?? false });
  return { warnings, parts, release: () => void events.return?.() };
}
