// SPDX-License-Identifier: Apache-2.0
// The provider: a loaded model, and chains over it, as language models of AI SDK.

import type { TemplateChoice } from "../index.js";
import { Model, OptionInvalidError } from "../index.js";
import type { ChainLike, ChainSettings } from "./chain-model.js";
import { beginChain, outputOf } from "./chain-model.js";
import { ChatFormat } from "./chat-format.js";
import { beginChat } from "./chat-model.js";
import { noSuchModel } from "./errors.js";
import type { Begin } from "./language-model.js";
import { createLanguageModel } from "./language-model.js";
import type { BatonLanguageModel, SpecificationVersion } from "./spec.js";

/** A chain, or one with its settings. */
export type NamedChain = ChainLike | (ChainSettings & { chain: ChainLike });

export interface BatonSettings<Version extends SpecificationVersion = SpecificationVersion> {
  /** A model that `loadModel` returned; it stays the caller's to close. */
  model: Model;
  /** Chains by name: `baton("chain:name")`, or `providerOptions.baton.chain`. */
  chains?: Readonly<Record<string, NamedChain>>;
  /** The chat template: one of the file's by name, or a Jinja text. Default: the file's. */
  template?: TemplateChoice;
  /** Whose content it is, for calls that name no `salt` of their own; see `CacheOptions`. */
  salt?: string;
  /** Of AI SDK's models: "v4" (default) is what AI SDK 7 has, "v3" what AI SDK 6 takes. */
  specification?: Version;
}

export interface BatonProvider<Version extends SpecificationVersion = SpecificationVersion> {
  /** The model by its name or without one; "chain:name": a chain. Throws AI SDK's NoSuchModelError. */
  (modelId?: string): BatonLanguageModel<Version>;
  readonly specificationVersion: Version;
  languageModel(modelId?: string): BatonLanguageModel<Version>;
  /** A chain that was defined over any model. Throws OPTION_INVALID. */
  chain<Stage extends string, Given extends string>(
    chain: ChainLike<Stage, Given>,
    settings?: ChainSettings<NoInfer<Stage>, NoInfer<Given>>,
  ): BatonLanguageModel<Version>;
  /** There are none. Throws AI SDK's NoSuchModelError, as `imageModel`. */
  embeddingModel(modelId: string): never;
  imageModel(modelId: string): never;
}

const prefix = "chain:";

function checked<Version extends SpecificationVersion>(settings: BatonSettings<Version>) {
  const { model, specification = "v4", chains = {}, template, salt } = settings ?? {};
  const fail = (option: string, value: unknown, remedy: string) => {
    throw new OptionInvalidError(`createBaton has \`${option}\` ${String(value)}. ${remedy}`, {
      facts: { option, value: String(value) },
    });
  };
  if (!Model.isInstance(model)) fail("model", model, "Give the model that loadModel returned; await it.");
  if (specification !== "v3" && specification !== "v4") {
    fail("specification", specification, 'Give "v4" for AI SDK 7 or "v3" for AI SDK 6.');
  }
  const named = Object.entries(chains).map(([name, one]): [string, ChainSettings & { chain: ChainLike }] => [
    name,
    "chain" in one ? one : { chain: one },
  ]);
  for (const [, one] of named) outputOf(one.chain, one);
  return { model: model as Model, version: specification as Version, named: new Map(named), template, salt };
}

/** Throws OPTION_INVALID. Chats need a chat template: without one they reject with TEMPLATE_INVALID; chains need none. */
export function createBaton<const Version extends SpecificationVersion = "v4">(
  settings: BatonSettings<Version>,
): BatonProvider<Version> {
  const { model, version, named, template, salt } = checked(settings);
  const ids = [model.name, ...[...named.keys()].map((name) => `${prefix}${name}`)];
  let format: ChatFormat | null = null;
  const chainBegin = (name: string): Begin => {
    const found = named.get(name);
    if (found === undefined) throw noSuchModel(`${prefix}${name}`, "languageModel", ids);
    return (options, signal) => beginChain({ chain: found.chain, settings: found, salt }, options, signal);
  };
  const chat: Begin = async (options, signal) => {
    const name = options.providerOptions?.baton?.chain;
    if (name !== undefined) return chainBegin(String(name))(options, signal);
    format ??= new ChatFormat(model.template(template));
    return beginChat({ model, format, salt }, options, signal);
  };
  const languageModel = (modelId: string = model.name) => {
    if (modelId === model.name) return createLanguageModel(version, modelId, chat);
    if (!modelId.startsWith(prefix)) throw noSuchModel(modelId, "languageModel", ids);
    return createLanguageModel(version, modelId, chainBegin(modelId.slice(prefix.length)));
  };
  const provider: { [Name in keyof BatonProvider<Version>]: BatonProvider<Version>[Name] } = {
    specificationVersion: version,
    languageModel,
    chain: (chain, how = {}) => {
      const chainSettings = how as ChainSettings;
      const id = `${prefix}${outputOf(chain, chainSettings)}`;
      const begin: Begin = (options, signal) =>
        beginChain({ chain, settings: chainSettings, salt }, options, signal);
      return createLanguageModel(version, id, begin);
    },
    embeddingModel: (modelId) => {
      throw noSuchModel(modelId, "embeddingModel", []);
    },
    imageModel: (modelId) => {
      throw noSuchModel(modelId, "imageModel", []);
    },
  };
  return Object.assign((modelId?: string) => languageModel(modelId), provider);
}
