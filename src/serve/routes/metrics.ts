// SPDX-License-Identifier: Apache-2.0
// GET /metrics: figures in Prometheus' text format. It tells of everybody's requests, so it needs a key where there are any.

import { z } from "@hono/zod-openapi";
import type { Route } from "../route.js";
import { errorResponses } from "../route.js";

export const metrics: Route = {
  method: "get",
  path: "/metrics",
  always: true,
  config: {
    operationId: "metrics",
    summary: "Figures for Prometheus",
    responses: {
      200: { description: "Text", content: { "text/plain": { schema: z.string() } } },
      ...errorResponses(401, 403),
    },
  },
  async handle({ metrics }) {
    return { status: 200, headers: { "content-type": metrics.contentType }, body: await metrics.text() };
  },
};
