// SPDX-License-Identifier: Apache-2.0
// From the form of an output to a grammar of one model, before anything is computed, and from the text that was written
// under it to the result's object.

import { BatonError, ConstraintUnavailableError, OutputInvalidError } from "../errors.js";
import type { OptionOwner } from "../model/known-options.js";
import type { Model } from "../model/model.js";
import type { GenerateSpec, GrammarHandle } from "../native/types.js";
import type { FinishReason, OutputSettings } from "./output-options.js";
import { generateSpec } from "./output-options.js";
import type { OutputForm, SchemaIssue } from "./output-schema.js";
import { constraintInvalid } from "./output-schema.js";

/** Grammars that a model keeps: those of its chains, and of what a server is asked. */
const mostKept = 64;

const kept = new WeakMap<Model, Map<string, Promise<GrammarHandle>>>();

/** The one that was used longest ago goes first; a failure is not kept. */
function compile(model: Model, { kind, text }: OutputForm): Promise<GrammarHandle> {
  const grammars = kept.get(model) ?? new Map<string, Promise<GrammarHandle>>();
  kept.set(model, grammars);
  const key = `${kind} ${text}`;
  const found = grammars.get(key);
  grammars.delete(key);
  const grammar = found ?? model.engine.compileGrammar(kind, text);
  grammars.set(key, grammar);
  grammar.catch(() => grammars.get(key) === grammar && grammars.delete(key));
  for (const oldest of grammars.keys()) {
    if (grammars.size <= mostKept) break;
    grammars.delete(oldest);
  }
  return grammar;
}

const remedies = {
  jsonSchema:
    "Change or leave out what it names; what a grammar cannot say can be validated in the end: { jsonSchema, schema }.",
  regex:
    "Change or leave out what it names; groups that look ahead or behind, and references back, are not regular.",
};

/** Of a model: kept, so that a form that was asked for before costs nothing. Throws as outputSpec. */
export async function grammarOf(owner: OptionOwner, model: Model, form: OutputForm): Promise<GrammarHandle> {
  try {
    return await compile(model, form);
  } catch (error) {
    if (!BatonError.isInstance(error)) throw error;
    if (error.code === "CONSTRAINT_INVALID") {
      throw constraintInvalid(owner, `output.${form.kind}`, error.message, remedies[form.kind]);
    }
    if (error.code !== "CONSTRAINT_UNAVAILABLE") throw error;
    throw new ConstraintUnavailableError(
      `${owner.label} asks for an \`output\`, and this build of the addon has no grammars. Install Rust 1.87 or newer and ` +
        "compile it (`npx baton build`; `baton doctor` says what it has), or leave `output` out.",
      { facts: { ...owner.facts, option: "output" }, cause: error },
    );
  }
}

/**
 * The settings for this model, the grammar included. Throws OPTION_INVALID for closers and biased tokens that it lacks,
 * CONSTRAINT_INVALID for an output that it cannot write, CONSTRAINT_UNAVAILABLE.
 */
export async function outputSpec(
  owner: OptionOwner,
  model: Model,
  settings: OutputSettings,
): Promise<GenerateSpec> {
  const spec = generateSpec(owner, model, settings);
  return settings.output === null
    ? spec
    : { ...spec, grammar: await grammarOf(owner, model, settings.output) };
}

/** An output as it ended; `accepted`: it is all that its grammar asks for. */
interface Ended {
  text: string;
  reason: FinishReason;
  accepted: boolean;
}

function invalid(
  owner: OptionOwner,
  { text, reason }: Ended,
  problem: string,
  issues: readonly SchemaIssue[] = [],
) {
  const { label, facts } = owner;
  return new OutputInvalidError(`${label} wrote what is not its \`output\`: ${problem}`, {
    facts: { ...facts, reason, text },
    issues,
  });
}

function placeOf({ path = [] }: SchemaIssue): string {
  return path.map((one) => String(typeof one === "object" ? one.key : one)).join(".");
}

/**
 * `{ object }` of an output, or nothing where none was asked for. Throws OUTPUT_INVALID, which has the text, for one that
 * ended too early and one that the schema refuses.
 */
export async function objectOf(
  owner: OptionOwner,
  form: OutputForm | null,
  ended: Ended,
): Promise<{ object?: unknown }> {
  if (form === null) return {};
  if (!ended.accepted) {
    const problem = "it ended in the middle, at `maxTokens` or the end of the context. Give it more tokens.";
    throw invalid(owner, ended, problem);
  }
  if (form.kind === "regex") return { object: ended.text };
  let value: unknown;
  try {
    value = JSON.parse(ended.text, (_, one) => {
      if (typeof one !== "number" || Number.isFinite(one)) return one;
      throw new Error("a number in it is too large for JavaScript");
    });
  } catch (error) {
    throw invalid(owner, ended, `it is no JSON (${(error as Error).message}).`);
  }
  if (form.validate === null) return { object: value };
  const validated = await form.validate(value);
  if (!("issues" in validated) || validated.issues === undefined) {
    return { object: (validated as { value: unknown }).value };
  }
  const { issues } = validated;
  const said = issues.map((one) => [placeOf(one), one.message].filter(Boolean).join(": ")).join("; ");
  const problem = `the schema refuses it (${said}). Its refinements are no part of a grammar: say them as patterns or ranges, or generate again.`;
  throw invalid(owner, ended, problem, issues);
}
