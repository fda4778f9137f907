// SPDX-License-Identifier: Apache-2.0
// GET /health: whether requests are taken. For load balancers, so it needs no key and says nothing else.

import { z } from "@hono/zod-openapi";
import type { Route } from "../route.js";
import { jsonResponse } from "../route.js";
import { jsonAnswer } from "../sending.js";

const healthSchema = z.object({ status: z.enum(["ok", "draining"]) }).openapi("Health");

export const health: Route = {
  method: "get",
  path: "/health",
  open: true,
  always: true,
  config: {
    operationId: "health",
    summary: "Say whether requests are taken",
    security: [],
    responses: {
      200: jsonResponse("They are", healthSchema),
      503: jsonResponse("The server is shutting down", healthSchema),
    },
  },
  handle({ leases }) {
    const status = leases.draining ? "draining" : "ok";
    return jsonAnswer({ status }, leases.draining ? 503 : 200);
  },
};
