// SPDX-License-Identifier: Apache-2.0
// Objects: the model is told of the schema, and what it writes is the object if it is one.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import type { Model } from "../../src/index.js";
import { loadModel } from "../../src/index.js";
import { failure } from "../chain/failure.js";
import { sdks } from "./support.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { batchInvariant: true });
});
afterAll(() => model.close());

describe.each(sdks)("$name", ({ ai, provider }) => {
  const prompt = 'Say this as JSON: {"city": "Paris"}';

  test("an object is what the model writes, with a warning that nothing holds it to the schema", async () => {
    // A text to go on with, which a model of this size does reliably; its template shows the last message alone.
    const source = "{{ messages[-1].content }}";
    const shown = ["Rome", "Oslo", "Bern"]
      .map((city) => `The city of ${city}: {"city": "${city}"}`)
      .join("\n");
    const result = await ai.generateText({
      model: provider({ model, template: { source } })(),
      prompt: `${shown}\nThe city of Paris:`,
      stopSequences: ["\n"],
      maxOutputTokens: 40,
      output: ai.Output.object({ schema: z.object({ city: z.string() }) }),
    });
    expect(result.output).toEqual({ city: "Paris" });
    expect(result.warnings).toEqual([expect.objectContaining({ feature: "responseFormat" })]);
  });

  test("the model is told of the schema", async () => {
    const given = { model: provider({ model })(), prompt, maxOutputTokens: 2 };
    const schema = z.object({ city: z.string().describe("The capital") });
    const plain = (await ai.generateText(given)).usage.inputTokens ?? 0;
    const told = await failure(
      (async () => (await ai.generateText({ ...given, output: ai.Output.object({ schema }) })).output)(),
    );
    const usage = (told as unknown as { usage?: { inputTokens?: number } }).usage;
    expect(usage?.inputTokens).toBeGreaterThan(plain + 20);
  });

  test("no object is AI SDK's error, with the text", async () => {
    const call = ai.generateText({
      model: provider({ model })(),
      prompt,
      maxOutputTokens: 3,
      output: ai.Output.object({ schema: z.object({ city: z.string() }) }),
    });
    const error = await failure((async () => (await call).output)());
    expect(ai.NoObjectGeneratedError.isInstance(error)).toBe(true);
  });
});
