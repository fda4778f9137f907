// SPDX-License-Identifier: Apache-2.0
// DELETE /v1/sessions/{session}: a conversation has ended, so its rows are free at once.

import { z } from "@hono/zod-openapi";
import { ServeError } from "../errors.js";
import { checkName, namePattern } from "../names.js";
import type { Route } from "../route.js";
import { errorResponses, jsonResponse } from "../route.js";
import { jsonAnswer } from "../sending.js";

const deletedSchema = z
  .object({ id: z.string(), object: z.literal("session.deleted"), deleted: z.literal(true) })
  .openapi("DeletedSession");

export const sessions: Route = {
  method: "delete",
  path: "/v1/sessions/{session}",
  config: {
    operationId: "deleteSession",
    summary: "Free the rows of a session",
    request: { params: z.object({ session: z.string().min(1).max(128).regex(new RegExp(namePattern)) }) },
    responses: {
      200: jsonResponse("It is gone", deletedSchema),
      ...errorResponses(400, 401, 403, 404, 409, 503),
    },
  },
  handle({ sessions, models }, c, { tenant }) {
    const id = checkName("session", c.req.param("session") ?? "", "session");
    const deleted = [...models.values()].map((served) => sessions.delete(served, tenant.salt, id));
    if (deleted.includes(true)) return jsonAnswer({ id, object: "session.deleted", deleted: true });
    throw new ServeError(
      404,
      "session_not_found",
      "There is no session of this name. It may have been closed for idling.",
      {
        param: "session",
      },
    );
  },
};
