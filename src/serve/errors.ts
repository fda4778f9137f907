// SPDX-License-Identifier: Apache-2.0
// Every failure of a request in OpenAI's shape: `{ error: { message, type, param, code } }`. The message ends with the
// remedy. What is the server's own business (paths, the program's code between stages) is in its log, not in a reply.

import type { ErrorCode } from "../index.js";
import { BatonError, CacheBudgetError } from "../index.js";

/** OpenAI's names for kinds of failure. */
export type ErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "permission_error"
  | "not_found_error"
  | "conflict_error"
  | "rate_limit_error"
  | "server_error";

export type ErrorStatus = 400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 429 | 500 | 503;

export interface ErrorBody {
  error: { message: string; type: ErrorType; param: string | null; code: string };
}

export interface ServeErrorInit {
  /** The field of the request that is at fault. */
  param?: string;
  headers?: Readonly<Record<string, string>>;
  cause?: unknown;
}

const types: Readonly<Record<ErrorStatus, ErrorType>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  405: "invalid_request_error",
  409: "conflict_error",
  413: "invalid_request_error",
  415: "invalid_request_error",
  429: "rate_limit_error",
  500: "server_error",
  503: "server_error",
};

/** Why a request whose client does not wait any longer is ended; nobody is there to be told. */
export class ClientGoneError extends Error {
  override readonly name = "ClientGoneError";

  constructor(message = "The client went away.") {
    super(message);
  }
}

/** A request that is not served. */
export class ServeError extends Error {
  override readonly name = "ServeError";
  readonly status: ErrorStatus;
  readonly code: string;
  readonly param: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: ErrorStatus, code: string, message: string, init: ServeErrorInit = {}) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause });
    this.status = status;
    this.code = code;
    this.param = init.param ?? null;
    this.headers = init.headers ?? {};
  }

  get body(): ErrorBody {
    const { message, status, param, code } = this;
    return { error: { message, type: types[status], param, code } };
  }
}

/** A field that OpenAI's API has and that would change the result, where this server has nothing for it. */
export function unsupported(param: string, message: string): ServeError {
  return new ServeError(400, "unsupported_parameter", message, { param });
}

const shutting = "The server is shutting down. Send the request to another one.";

/** `retryAfter`: seconds. */
export function shuttingDown(retryAfter: number, headers: Readonly<Record<string, string>> = {}): ServeError {
  return new ServeError(503, "shutting_down", shutting, {
    headers: { "retry-after": String(retryAfter), ...headers },
  });
}

/** The codes whose messages are for the client: it can do something about them. */
const clientCodes: Partial<Record<ErrorCode, string>> = {
  OPTION_INVALID: "invalid_value",
  CHAIN_INVALID: "invalid_inputs",
  CONTEXT_LIMIT: "context_length_exceeded",
  TEMPLATE_INVALID: "invalid_messages",
};

/** Those that pass by themselves. */
const passingCodes: Partial<Record<ErrorCode, string>> = {
  CACHE_BUDGET: "The KV cache has no room for this request beside those in progress. Try again in a moment.",
  OUT_OF_MEMORY: "The server is out of memory for now. Try again in a moment.",
  CLOSED: shutting,
};

/** camelCase options of the library as the API spells them. */
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function paramOf(error: BatonError): { param?: string } {
  const { option, name } = error.facts;
  if (error.code === "OPTION_INVALID" && typeof option === "string") return { param: snake(option) };
  if (error.code === "CHAIN_INVALID" && typeof name === "string") return { param: `inputs.${name}` };
  if (error.code === "TEMPLATE_INVALID") return { param: "messages" };
  return {};
}

/** Null unless the request alone is more than the whole cache, however often it comes. */
function neverFits(error: BatonError): ServeError | null {
  if (!CacheBudgetError.isInstance(error)) return null;
  const { needed = 0, budget = 0 } = error.facts;
  if (needed <= budget) return null;
  return new ServeError(
    400,
    "context_length_exceeded",
    `The request needs ${String(needed)} bytes of KV cache, and this server has ${String(budget)} in all. Shorten it.`,
    { cause: error },
  );
}

/** What a client hears of any failure; `retryAfter`: seconds, for those that pass. */
export function serveErrorOf(error: unknown, retryAfter: number): ServeError {
  if (error instanceof ServeError) return error;
  const headers = { "retry-after": String(retryAfter) };
  if (BatonError.isInstance(error)) {
    const { code } = error;
    const client = clientCodes[code];
    if (client !== undefined)
      return new ServeError(400, client, error.message, { ...paramOf(error), cause: error });
    const tooLong = neverFits(error);
    if (tooLong !== null) return tooLong;
    if (code === "QUEUE_FULL") {
      const { running, waiting } = error.facts;
      return new ServeError(
        429,
        "queue_full",
        `${String(running)} requests are in progress and ${String(waiting)} wait, as many as this server takes. Try ` +
          `again in ${retryAfter} s.`,
        { headers, cause: error },
      );
    }
    const passing = passingCodes[code];
    if (passing !== undefined)
      return new ServeError(503, code.toLowerCase(), passing, { headers, cause: error });
  }
  const code = BatonError.isInstance(error) ? error.code.toLowerCase() : "internal";
  return new ServeError(
    500,
    code,
    `The server failed (${code}); its log has the reason. Tell whoever runs it.`,
    { cause: error },
  );
}
