// SPDX-License-Identifier: Apache-2.0
// The OpenAPI document: every route is in it, and what the server sends is what its schemas say.

import { afterAll, beforeAll, expect, test } from "vitest";
import { defineChain } from "../../src/index.js";
import {
  chainAnswerSchema,
  chatAnswerSchema,
  completionAnswerSchema,
  errorSchema,
  modelsSchema,
} from "../../src/serve/openai/answer-schema.js";
import { routes } from "../../src/serve/routes/index.js";
import type { TestServer } from "./support.js";
import { greedy, hello, startServer } from "./support.js";

let here: TestServer;
beforeAll(async () => {
  here = await startServer({
    chains: (model) => ({ qa: defineChain(model).input("question").stage("answer", { maxTokens: 4 }) }),
  });
});
afterAll(() => here[Symbol.asyncDispose]());

interface Operation {
  operationId: string;
  responses: Record<string, { content: Record<string, unknown> }>;
  security: object[];
}

test("has every route, what it answers, and whether it needs a key", async () => {
  const document = (await (await fetch(`${here.url}/openapi.json`)).json()) as {
    openapi: string;
    paths: Record<string, Record<string, Operation>>;
  };
  expect(document.openapi).toBe("3.1.0");
  const found = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method} ${path}`),
  );
  expect(found.sort()).toEqual(routes.map(({ method, path }) => `${method} ${path}`).sort());
  for (const { path, method, open } of routes) {
    const operation = document.paths[path]?.[method];
    expect(operation?.security.length).toBe(open === true ? 0 : 2);
    if (method === "post") {
      expect(Object.keys(operation?.responses ?? {})).toEqual(
        expect.arrayContaining(["200", "400", "401", "429"]),
      );
      expect(operation?.responses["200"]?.content["text/event-stream"]).toBeDefined();
    }
  }
});

test("answers are what their schemas say, all of it", async () => {
  const chat = { ...hello, logprobs: true, top_logprobs: 2 };
  const cases = [
    [chatAnswerSchema, "/v1/chat/completions", chat],
    [completionAnswerSchema, "/v1/completions", { ...greedy, prompt: "Marsk", logprobs: 1 }],
    [chainAnswerSchema, "/v1/chains/qa", { inputs: { question: "How long?" } }],
    [errorSchema, "/v1/chains/none", { inputs: {} }],
  ] as const;
  for (const [schema, path, body] of cases) {
    const answer = (await here.post(path, body)).body;
    expect(schema.parse(answer)).toEqual(answer); // objects of a schema drop what it does not know
  }
  const models = await (await fetch(`${here.url}/v1/models`)).json();
  expect(modelsSchema.parse(models)).toEqual(models);
});
