// SPDX-License-Identifier: Apache-2.0
// Fields of OpenAI's API that would change the result and that nothing here stands for: refused by name where they ask for
// something, taken where they ask for what happens anyway. Fields that change no result (user, metadata, store, ...) are
// taken and have no effect; a field that nobody knows is refused, because it is a mistake.

import { unsupported } from "../errors.js";

interface Refusal {
  /** It asks for what happens without it. */
  neutral: (value: unknown) => boolean;
  /** Ends with what to do instead. */
  why: string;
}

const isEmpty = (value: unknown) => Array.isArray(value) && value.length === 0;
const never = () => false;
const is =
  (...values: unknown[]) =>
  (value: unknown) =>
    values.includes(value);
const older = "It is an older form. Give `tools` and `tool_choice`.";

/** Of both ways to complete. */
const common: Readonly<Record<string, Refusal>> = {
  n: {
    neutral: is(1),
    why: "An answer has one choice. Send several requests: they share the prompt's rows.",
  },
};

export const chatRefusals: Readonly<Record<string, Refusal>> = {
  ...common,
  functions: { neutral: isEmpty, why: older },
  function_call: { neutral: is("none", "auto"), why: older },
  modalities: {
    neutral: (value) => Array.isArray(value) && value.length === 1 && value[0] === "text",
    why: 'Answers are texts. Leave it out, or give ["text"].',
  },
  audio: { neutral: never, why: "Answers are texts. Leave it out." },
  reasoning_effort: { neutral: is("none"), why: "Models reason as their prompts say. Leave it out." },
  verbosity: {
    neutral: is("medium"),
    why: "Say in a message how long the answer shall be, or give max_tokens.",
  },
  web_search_options: {
    neutral: never,
    why: "This server searches nothing. Put what was found into a message.",
  },
  moderation: { neutral: never, why: "Nothing is moderated here. Leave it out." },
};

export const completionRefusals: Readonly<Record<string, Refusal>> = {
  ...common,
  best_of: { neutral: is(1), why: "An answer has one choice. Send several requests and choose." },
  echo: { neutral: is(false), why: "The prompt is not repeated. Put it in front of the answer yourself." },
  suffix: { neutral: is(""), why: "Texts are continued, not filled in. Leave it out." },
};

/** The beginning of a value; one with too many brackets in brackets is not written out. */
function shown(value: unknown): string {
  try {
    return JSON.stringify(value).slice(0, 64);
  } catch {
    return "too deep to be shown";
  }
}

/** Throws ServeError for the first field that asks for what is not there. */
export function refuse(body: unknown, refusals: Readonly<Record<string, Refusal>>): void {
  if (typeof body !== "object" || body === null) return;
  for (const [name, { neutral, why }] of Object.entries(refusals)) {
    const value = Object.hasOwn(body, name) ? (body as Record<string, unknown>)[name] : undefined;
    if (value === undefined || value === null || neutral(value)) continue;
    throw unsupported(name, `\`${name}\` is ${shown(value)}, which this server does not support. ${why}`);
  }
}
