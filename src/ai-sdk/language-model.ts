// SPDX-License-Identifier: Apache-2.0
// What AI SDK calls, over whatever generates: one sequence of parts, collected for `doGenerate` and streamed for
// `doStream`. A call that fails before it has written anything rejects, so that AI SDK can try it again; later a stream
// has an error part, or ends with the abort.

import { randomUUID } from "node:crypto";
import { abortOf, toSdkError } from "./errors.js";
import type {
  BatonLanguageModel,
  CallOptions,
  Content,
  ContentPart,
  Finish,
  FinishReason,
  JsonObject,
  SpecificationVersion,
  StreamPart,
  Usage,
  Warning,
} from "./spec.js";

export interface Outcome {
  finishReason: FinishReason;
  usage: Usage;
  /** Figures for `providerMetadata.baton`. */
  facts: JsonObject;
}

/** A call whose input is computed: what it writes, and then how it ended. Leaving the loop stops it. */
export interface Call {
  warnings: Warning[];
  parts: AsyncGenerator<ContentPart, Outcome>;
  /** Lets go of everything, for a call whose parts nobody has begun to read. */
  release: () => void;
}

/** Begins a call. Rejects with whatever fails before the first token. */
export type Begin = (options: CallOptions, signal: AbortSignal) => Promise<Call>;

const finishOf = ({ finishReason, usage, facts }: Outcome): Finish => ({
  type: "finish",
  finishReason,
  usage,
  providerMetadata: { baton: facts },
});

/** Blocks of parts as content. */
class Collected {
  readonly content: Content[] = [];
  readonly #open = new Map<string, { type: "text" | "reasoning"; text: string }>();

  add(part: ContentPart): void {
    switch (part.type) {
      case "text-start":
      case "reasoning-start": {
        const block = { type: part.type === "text-start" ? "text" : "reasoning", text: "" } as const;
        this.#open.set(part.id, block);
        this.content.push(block);
        break;
      }
      case "text-delta":
      case "reasoning-delta": {
        const block = this.#open.get(part.id);
        if (block !== undefined) block.text += part.delta;
        break;
      }
      case "tool-call":
        this.content.push(part);
    }
  }
}

const noUsage: Usage = {
  inputTokens: { total: 0, noCache: 0, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 0, text: 0, reasoning: 0 },
  raw: {},
};

interface Streamed {
  call: Call;
  modelId: string;
  abortSignal: AbortSignal | undefined;
  stop: () => void;
}

/** One part for every pull: a reader that is slow holds nothing up and piles nothing up. */
function streamOf({ call, modelId, abortSignal, stop }: Streamed): ReadableStream<StreamPart> {
  const { warnings, parts } = call;
  return new ReadableStream<StreamPart>({
    start(controller) {
      controller.enqueue({ type: "stream-start", warnings });
      controller.enqueue({ type: "response-metadata", ...metadataOf(modelId) });
    },
    async pull(controller) {
      try {
        const { done, value } = await parts.next();
        controller.enqueue(done ? finishOf(value) : value);
        if (done) controller.close();
      } catch (error) {
        const seen = toSdkError(error, abortSignal);
        if (abortSignal?.aborted) return controller.error(seen);
        controller.enqueue({ type: "error", error: seen });
        const finishReason = { unified: "error", raw: "error" } as const;
        controller.enqueue(finishOf({ finishReason, usage: noUsage, facts: {} }));
        controller.close();
      }
    },
    async cancel() {
      stop();
      await parts.return({} as Outcome).catch(() => {});
      call.release();
    },
  });
}

const metadataOf = (modelId: string) => ({ id: `baton-${randomUUID()}`, timestamp: new Date(), modelId });

/** A language model of AI SDK; `begin` does the work. */
export function createLanguageModel<Version extends SpecificationVersion>(
  specificationVersion: Version,
  modelId: string,
  begin: Begin,
): BatonLanguageModel<Version> {
  const started = async (options: CallOptions) => {
    const { abortSignal } = options;
    if (abortSignal?.aborted) throw abortOf(abortSignal);
    const own = new AbortController();
    const signals = abortSignal === undefined ? [own.signal] : [own.signal, abortSignal];
    try {
      const call = await begin(options, AbortSignal.any(signals));
      return { call, modelId, abortSignal, stop: () => own.abort() };
    } catch (error) {
      throw toSdkError(error, abortSignal);
    }
  };
  return {
    specificationVersion,
    provider: "baton",
    modelId,
    supportedUrls: {},
    async doGenerate(options) {
      const { call, abortSignal } = await started(options);
      const collected = new Collected();
      try {
        for (;;) {
          const { done, value } = await call.parts.next();
          if (!done) {
            collected.add(value);
            continue;
          }
          const { finishReason, usage, providerMetadata } = finishOf(value);
          const response = metadataOf(modelId);
          const { warnings } = call;
          return { content: collected.content, finishReason, usage, providerMetadata, response, warnings };
        }
      } catch (error) {
        throw toSdkError(error, abortSignal);
      }
    },
    async doStream(options) {
      return { stream: streamOf(await started(options)) };
    },
  };
}
