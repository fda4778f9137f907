// SPDX-License-Identifier: Apache-2.0
// GET /openapi.json: the document of all routes, made of the schemas that check requests. It is the same for everybody and
// names nothing that is served, so it needs no key.

import { z } from "@hono/zod-openapi";
import type { Route } from "../route.js";
import { jsonResponse } from "../route.js";

export const openapi: Route = {
  method: "get",
  path: "/openapi.json",
  open: true,
  config: {
    operationId: "openapi",
    summary: "This document",
    security: [],
    responses: { 200: jsonResponse("OpenAPI 3.1", z.looseObject({})) },
  },
  handle({ document }) {
    return { status: 200, headers: { "content-type": "application/json" }, body: document() };
  },
};
