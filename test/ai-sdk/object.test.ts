// SPDX-License-Identifier: Apache-2.0
// Objects: the text is held to the schema while it is written, and so are the arguments of a call that has to be one; where
// that cannot be, the model is asked for it, with a warning.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { createBaton } from "../../src/ai-sdk/index.js";
import type { CallOptions } from "../../src/ai-sdk/spec.js";
import type { Model } from "../../src/index.js";
import { loadModel } from "../../src/index.js";
import { failure } from "../chain/failure.js";
import { needGrammars } from "../constrain/support.js";
import { asked, sdks } from "./support.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { batchInvariant: true });
});
afterAll(() => model.close());

const prompt = "Paris has two million people.";
const schema = z.object({ city: z.string().max(20), millions: z.int().min(0).max(99), large: z.boolean() });

describe.each(sdks)("held to a schema, $name", ({ ai, provider }) => {
  test("generateText and streamText write an object of it, without a warning", async (context) => {
    needGrammars(context);
    const output = ai.Output.object({ schema });
    const given = { model: provider({ model })(), prompt, maxOutputTokens: 80, output };
    const result = await ai.generateText(given);
    expect(schema.parse(result.output)).toEqual(JSON.parse(result.text));
    expect([result.finishReason, result.warnings ?? []]).toEqual(["stop", []]);
    const streamed = ai.streamText(given);
    const partial: unknown[] = [];
    for await (const one of streamed.partialOutputStream) partial.push(one);
    expect(partial.length).toBeGreaterThan(1);
    expect(await streamed.output).toEqual(result.output);
  });

  test("a choice is such an object, too", async (context) => {
    needGrammars(context);
    const options = ["village", "town", "city"];
    const given = { model: provider({ model })(), prompt, maxOutputTokens: 40 };
    const choice = await ai.generateText({ ...given, output: ai.Output.choice({ options }) });
    expect(options).toContain(choice.output);
  });

  test("a call that has to be of a tool has arguments of its schema", async (context) => {
    needGrammars(context);
    const seen: unknown[] = [];
    const call = async (toolChoice: "required" | { type: "tool"; toolName: "note" }) =>
      ai.generateText({
        model: provider({ model })(),
        prompt,
        maxOutputTokens: 120,
        tools: { note: ai.tool({ inputSchema: schema, execute: async (input) => void seen.push(input) }) },
        toolChoice,
      });
    for (const toolChoice of ["required", { type: "tool", toolName: "note" }] as const) {
      const result = await call(toolChoice);
      expect(result.finishReason).toBe("tool-calls");
      expect(result.text).toBe("");
      expect(result.warnings?.map((one) => "feature" in one && one.feature)).toEqual(["tools"]);
    }
    expect(seen.map((input) => schema.parse(input))).toEqual(seen);
    expect(seen).toHaveLength(2);
  });

  test("an object that was cut off is AI SDK's error, and its finish is for its length", async () => {
    const given = { model: provider({ model })(), prompt, maxOutputTokens: 3 };
    const call = ai.generateText({ ...given, output: ai.Output.object({ schema }) });
    const error = await failure((async () => (await call).output)());
    expect(ai.NoObjectGeneratedError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ finishReason: "length", usage: { outputTokens: 3 } });
  });
});

describe("what cannot be held to a schema", () => {
  const call = (options: Partial<CallOptions>) =>
    createBaton({ model })().doGenerate(asked(prompt, { maxOutputTokens: 8, ...options }));
  const json = (one: object): Partial<CallOptions> => ({ responseFormat: { type: "json", schema: one } });
  const warned = (feature: string) => [expect.objectContaining({ type: "compatibility", feature })];

  test("is asked for, with a warning that says why, and never thrown", async () => {
    const never = { type: "string", minLength: 5, maxLength: 2 };
    for (const one of [never, { type: "string", pattern: "(?=a)b" }, { $ref: "#/none" }]) {
      const { warnings, content } = await call(json(one));
      expect(warnings).toEqual(warned("responseFormat"));
      expect(content).toHaveLength(1);
    }
    const tool = { type: "function" as const, name: "note", inputSchema: never };
    const forced = await call({ tools: [tool], toolChoice: { type: "tool", toolName: "note" } });
    expect(forced.warnings.slice(1)).toEqual(warned("toolChoice"));
    const stopped = await call({ ...json({ type: "object" }), stopSequences: ["x"] });
    expect(stopped.warnings).toEqual(warned("responseFormat"));
    const several = [tool, { ...tool, name: "other" }];
    const required = await call({ tools: several, toolChoice: { type: "required" } });
    expect(required.warnings.slice(1)).toEqual(warned("toolChoice"));
    const either = await call({ ...json({ type: "object" }), tools: [tool] });
    expect(either.warnings.slice(1)).toEqual(warned("responseFormat"));
  });

  test("is what the model says then", async () => {
    // A text to go on with, which a model of this size does reliably; its template shows the last message alone.
    const template = { source: "{{ messages[-1].content }}" };
    const shown = ["Rome", "Oslo", "Bern"]
      .map((city) => `The city of ${city}: {"city": "${city}"}`)
      .join("\n");
    const text = `${shown}\nThe city of Paris:`;
    const options = { ...json({ type: "object" }), stopSequences: ["\n"], maxOutputTokens: 40 };
    const { content } = await createBaton({ model, template })().doGenerate(asked(text, options));
    expect(JSON.parse((content[0] as { text: string }).text)).toEqual({ city: "Paris" });
  });

  test("is told to the model, as what can be is", async () => {
    const plain = await call({});
    const told = await call(json({ type: "object", title: "A lighthouse and whoever built it" }));
    expect(told.usage.inputTokens.total).toBeGreaterThan(plain.usage.inputTokens.total);
  });
});
