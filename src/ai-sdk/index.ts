// SPDX-License-Identifier: Apache-2.0
// The public names of `baton-lm/ai-sdk`.

import "../node-version.js";

export type { BatonProviderOptions } from "./call-settings.js";
export type { ChainConversation, ChainLike, ChainSettings } from "./chain-model.js";
export type { BatonProvider, BatonSettings, NamedChain } from "./provider.js";
export { createBaton } from "./provider.js";
export type { BatonLanguageModel, SpecificationVersion } from "./spec.js";
