// SPDX-License-Identifier: Apache-2.0
// Both AI SDKs with the provider as each takes it, and texts of calls to hand.

import * as ai6 from "ai";
import * as ai7 from "ai-7";
import type { BatonSettings } from "../../src/ai-sdk/index.js";
import { createBaton } from "../../src/ai-sdk/index.js";
import type { CallOptions, StreamPart } from "../../src/ai-sdk/spec.js";
import type { Model } from "../../src/index.js";

// Warnings are asserted; what AI SDK prints of them is noise.
(globalThis as { AI_SDK_LOG_WARNINGS?: boolean }).AI_SDK_LOG_WARNINGS = false;

type Settings = Omit<BatonSettings, "specification">;

/** The same functions of two releases; their types are those of the newer one, which is all that the tests need. */
export const sdks = [
  {
    name: "AI SDK 6, specification v3",
    ai: ai6 as unknown as typeof ai7,
    provider: (settings: Settings) => createBaton({ ...settings, specification: "v3" }) as never,
  },
  { name: "AI SDK 7, specification v4", ai: ai7, provider: (settings: Settings) => createBaton(settings) },
] as unknown as readonly {
  name: string;
  ai: typeof ai7;
  provider: (settings: Settings) => ReturnType<typeof createBaton<"v4">>;
}[];

/** Options of a call as AI SDK hands them over. */
export const asked = (text: string, options: Partial<CallOptions> = {}): CallOptions => ({
  prompt: [{ role: "user", content: [{ type: "text", text }] }],
  ...options,
});

export async function partsOf(stream: ReadableStream<StreamPart>): Promise<StreamPart[]> {
  const parts: StreamPart[] = [];
  for await (const part of stream as unknown as AsyncIterable<StreamPart>) parts.push(part);
  return parts;
}

/** What the model writes behind its chat template without any of this: the reference of every answer. */
export async function plainAnswer(
  model: Model,
  messages: readonly { role: string; content: string }[],
  maxTokens: number,
): Promise<string> {
  const handle = model.cache.open();
  try {
    await handle.append(model.template().encode(messages));
    return (await handle.generate({ maxTokens }).result).text;
  } finally {
    handle.close();
  }
}
