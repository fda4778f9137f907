// SPDX-License-Identifier: Apache-2.0
// The routes as one handler of requests, and as one OpenAPI document.

import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { OpenAPIHono } from "@hono/zod-openapi";
import { cors } from "hono/cors";
import { packageVersion } from "../native/load.js";
import type { Connection } from "./answer.js";
import { answer } from "./answer.js";
import type { ServeContext } from "./context.js";
import { ServeError, serveErrorOf } from "./errors.js";
import type { RequestContext, Route } from "./route.js";
import { routes } from "./routes/index.js";
import { responseOf, sendTo } from "./sending.js";

export interface App {
  fetch(request: Request, connection?: Connection): Response | Promise<Response>;
}

const honoPath = (path: string) => path.replaceAll(/\{(\w+)\}/g, ":$1");

/** What stands for paths and methods that are none: counted and logged under one name, whatever they were. */
function noRoute(allowed: readonly string[]): Route {
  return {
    method: "get",
    path: "other",
    open: true,
    config: { responses: {} },
    handle(_, c) {
      const asked = `${c.req.method} ${c.req.path.slice(0, 128)}`;
      if (allowed.length === 0) {
        const known = routes.map(({ method, path }) => `${method.toUpperCase()} ${path}`).join(", ");
        throw new ServeError(404, "unknown_path", `There is no ${asked}. There are ${known}.`);
      }
      throw new ServeError(
        405,
        "method_not_allowed",
        `There is no ${asked}. The path takes ${allowed.join(", ")}.`,
        {
          headers: { allow: allowed.join(", ") },
        },
      );
    },
  };
}

export function createApp(context: ServeContext): App {
  const app = new OpenAPIHono();
  const { cors: origins } = context.options;
  if (origins.length > 0) app.use(cors({ origin: origins.includes("*") ? "*" : [...origins] }));
  const { stallMs } = context.options;
  const serve = (route: Route) => async (c: RequestContext) => {
    const connection = (c.env as { connection?: Connection } | undefined)?.connection ?? null;
    const { answered, lease } = await answer(context, route, c, connection);
    if (connection === null || origins.length > 0) return responseOf(answered, lease, stallMs);
    sendTo(connection.outgoing, answered, lease, stallMs);
    return RESPONSE_ALREADY_SENT;
  };
  for (const route of routes) app.on(route.method.toUpperCase(), honoPath(route.path), serve(route));
  for (const path of new Set(routes.map((route) => route.path))) {
    const methods = routes.filter((route) => route.path === path).map(({ method }) => method.toUpperCase());
    app.all(honoPath(path), serve(noRoute(methods.includes("GET") ? [...methods, "HEAD"] : methods)));
  }
  app.notFound(serve(noRoute([])));
  app.onError((error) => Response.json(serveErrorOf(error, 1).body, { status: 500 })); // of what stands around routes
  return { fetch: (request, connection) => app.fetch(request, { connection }) };
}

const description =
  "Chains of prompt-tuned specialists over one frozen language model and one KV cache, behind OpenAI's API. Fields of " +
  "OpenAI's that would change a result and are not supported are refused by name.";

/** The OpenAPI document, as text. */
export function createDocument(): string {
  const app = new OpenAPIHono();
  app.openAPIRegistry.registerComponent("securitySchemes", "key", { type: "http", scheme: "bearer" });
  for (const { method, path, config } of routes) {
    app.openAPIRegistry.registerPath({ security: [{ key: [] }, {}], ...config, method, path });
  }
  const document = app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: { title: "Baton", version: packageVersion(), description, license: { name: "Apache-2.0" } },
  });
  return JSON.stringify(document);
}
