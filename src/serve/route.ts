// SPDX-License-Identifier: Apache-2.0
// What a route is: where it stands, what it is in the OpenAPI document, and what it does. Everything that all routes have
// in common (leases, keys, errors) is done around it, in answer.ts.

import type { RouteConfig } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { RequestVariables, ServeContext } from "./context.js";
import { errorSchema } from "./openai/answer-schema.js";
import type { Answered } from "./sending.js";

export type RequestContext = Context;

export interface Route {
  readonly method: "get" | "post" | "delete";
  /** As OpenAPI writes it: "/v1/chains/{name}". */
  readonly path: string;
  /** Needs no key. */
  readonly open?: boolean;
  /** Answers while the server drains, too. */
  readonly always?: boolean;
  /** For the OpenAPI document. */
  readonly config: Omit<RouteConfig, "method" | "path">;
  /** Throws ServeError, or anything else for a failure of the server. */
  handle(context: ServeContext, c: RequestContext, variables: RequestVariables): Answered | Promise<Answered>;
}

const json = (schema: NonNullable<unknown>) => ({ "application/json": { schema: schema as never } });

/** A response in JSON. */
export const jsonResponse = (description: string, schema: NonNullable<unknown>) => ({
  description,
  content: json(schema),
});

/** A request in JSON. */
export const jsonRequest = (schema: NonNullable<unknown>) => ({
  body: { content: json(schema), required: true },
});

const meanings: Readonly<Record<number, string>> = {
  400: "The request cannot be served: the message says why and what to do",
  401: "No key, or one that the server does not know",
  403: "The Host header names another server than this one",
  404: "No such model, chain, prompt or session",
  409: "The session is answering another request",
  413: "The body is too large",
  415: "The body is not JSON",
  429: "Too many requests wait: come again after Retry-After",
  500: "The server failed",
  503: "No room just now, or the server is shutting down: come again after Retry-After",
};

/** Responses for failures. */
export const errorResponses = (...statuses: readonly number[]) =>
  Object.fromEntries(statuses.map((status) => [status, jsonResponse(meanings[status] ?? "", errorSchema)]));

/** Those of every route that generates. */
export const generatingErrors = errorResponses(400, 401, 403, 404, 409, 413, 415, 429, 500, 503);

/** An answer that is one JSON value, or events where the request asks for a stream. */
export const answerOrStream = (description: string, schema: NonNullable<unknown>) => ({
  description,
  content: {
    ...json(schema),
    "text/event-stream": {
      schema: { description: "Events, the last of which is `[DONE]`" } as never,
    },
  },
});
