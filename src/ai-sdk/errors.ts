// SPDX-License-Identifier: Apache-2.0
// Failures as users of AI SDK expect them: an abort is an AbortError, everything else a BatonError. What may succeed when
// it is tried again is what AI SDK takes for a failed call and tries again; what is asked of a model that cannot do it, and
// a name that is no model, are the errors of these names for its `isInstance`. AI SDK tells its errors by symbols, so that
// copies of it know each other's: bearing the symbol is being one, and nothing of it has to be installed.

import { BatonError, CacheBudgetError, OptionInvalidError, QueueFullError } from "../index.js";
import { didYouMean } from "../suggest.js";

const markerOf = (name: string) => Symbol.for(`vercel.ai.error${name === "" ? "" : `.${name}`}`);

function mark<E extends Error>(error: E, name: string, fields: object): E {
  return Object.assign(error, { [markerOf("")]: true, [markerOf(name)]: true }, fields);
}

/** The same error, one that AI SDK tries again; `cause` is the first one. */
function retryable(error: BatonError): BatonError {
  const { code, message, facts } = error;
  const again = new BatonError(code, message, { facts, cause: error });
  return mark(again, "AI_APICallError", { isRetryable: true, url: "baton:", requestBodyValues: {} });
}

/** OPTION_INVALID, and AI SDK's UnsupportedFunctionalityError. */
export function unsupported(functionality: string, message: string): OptionInvalidError {
  const error = new OptionInvalidError(message, { facts: { option: "prompt", value: functionality } });
  return mark(error, "AI_UnsupportedFunctionalityError", { functionality });
}

/** OPTION_INVALID, and AI SDK's NoSuchModelError. */
export function noSuchModel(
  modelId: string,
  modelType: "languageModel" | "embeddingModel" | "imageModel",
  available: readonly string[],
): OptionInvalidError {
  const has = available.length === 0 ? "none of that kind" : available.join(", ");
  const error = new OptionInvalidError(
    `The provider has no ${modelType} ${JSON.stringify(modelId)}. It has ${has}.${didYouMean(modelId, available)}`,
    { facts: { option: "modelId", value: modelId, available } },
  );
  return mark(error, "AI_NoSuchModelError", { modelId, modelType });
}

const abortNames = ["AbortError", "TimeoutError", "ResponseAborted"];

/** What a call ended by `signal` fails with: its reason, as an AbortError if it is something else. */
export function abortOf({ reason }: AbortSignal): unknown {
  if (reason instanceof Error && abortNames.includes(reason.name)) return reason;
  const error = new DOMException("The call was aborted.", "AbortError");
  return Object.defineProperty(error, "cause", { value: reason });
}

/** An error of this library as AI SDK's callers get it. */
export function toSdkError(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return abortOf(signal);
  if (QueueFullError.isInstance(error)) return retryable(error as BatonError);
  // Other calls hold the room, unless it is more than the pool has.
  if (!CacheBudgetError.isInstance(error)) return error;
  const { needed = 0, budget = 0 } = error.facts;
  return needed <= budget ? retryable(error) : error;
}
