// SPDX-License-Identifier: Apache-2.0
// The compiler's part: what the provider gives is what both releases of AI SDK take, and chains are typed by their names.

import type { LanguageModelV3, ProviderV3 } from "@ai-sdk/provider";
import type { generateText as generateText6, LanguageModel as LanguageModel6 } from "ai";
import type { generateText as generateText7, LanguageModel as LanguageModel7 } from "ai-7";
import type { BatonLanguageModel, BatonProvider } from "../../src/ai-sdk/index.js";
import { createBaton } from "../../src/ai-sdk/index.js";
import type { Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";

declare const model: Model;
declare const v3: BatonLanguageModel<"v3">;
declare const v4: BatonLanguageModel<"v4">;
declare const generate6: typeof generateText6;
declare const generate7: typeof generateText7;

type V4 = Extract<LanguageModel7, { specificationVersion: "v4" }>;

export const asV3: LanguageModelV3 = v3;
export const in6: LanguageModel6 = v3;
export const in7: LanguageModel7 = v4;
export const asV4: V4 = v4;
export const olderIn7: LanguageModel7 = v3;
// @ts-expect-error AI SDK 6 knows no version 4
export const newerIn6: LanguageModel6 = v4;

export const provider4: BatonProvider<"v4"> = createBaton({ model });
export const provider3: BatonProvider<"v3"> = createBaton({ model, specification: "v3" });
export const asProvider3: ProviderV3 = provider3;

export const results = () => [
  generate6({ model: provider3(), prompt: "Hi" }),
  generate7({ model: provider4("chain:a"), prompt: "Hi" }),
];

const chain = defineChain(model).input("question").input("passages").stage("note").stage("answer");
export const chains = [
  provider4.chain(chain, { input: "question", inputs: { passages: "..." }, output: "answer" }),
  provider4.chain(chain, { input: ({ text }) => ({ question: text, passages: "..." }) }),
  createBaton({ model, chains: { chain, other: { chain, input: "question" } } })("chain:other"),
  // @ts-expect-error no such input
  provider4.chain(chain, { input: "answer" }),
  // @ts-expect-error no such stage
  provider4.chain(chain, { output: "question" }),
];
