// SPDX-License-Identifier: Apache-2.0
// GET /v1/models: what `model` of a request may be, chains included.

import { chainPrefix } from "../models.js";
import { modelsSchema } from "../openai/answer-schema.js";
import type { Route } from "../route.js";
import { errorResponses, jsonResponse } from "../route.js";
import { jsonAnswer } from "../sending.js";

export const models: Route = {
  method: "get",
  path: "/v1/models",
  config: {
    operationId: "listModels",
    summary: "List models and chains",
    responses: { 200: jsonResponse("All of them", modelsSchema), ...errorResponses(401, 403, 503) },
  },
  handle({ models, chains, startedAt }) {
    const ids = [...models.keys(), ...chains.names.map((name) => `${chainPrefix}${name}`)];
    const data = ids.map((id) => ({ id, object: "model", created: startedAt, owned_by: "baton" }));
    return jsonAnswer({ object: "list", data });
  },
};
