// SPDX-License-Identifier: Apache-2.0
// The same model decodes under a grammar and without, in turns.
import type { Samples, Task, TrialSettings } from "../contract.js";
import { cached, generate, open, rate } from "./engine.js";

/** More records than there are tokens for. */
const schema = {
  type: "array",
  minItems: 1000,
  items: {
    type: "object",
    properties: {
      name: { type: "string", maxLength: 40 },
      kind: { enum: ["person", "place", "thing"] },
      year: { type: "integer", minimum: 0, maximum: 2100 },
      tags: { type: "array", items: { type: "string", maxLength: 20 }, maxItems: 3 },
    },
    required: ["name", "kind", "year", "tags"],
    additionalProperties: false,
  },
};

export async function measureConstrained(
  task: Task & { kind: "constrained" },
  settings: TrialSettings,
): Promise<Samples> {
  const { model } = await open(settings);
  const context = await cached(model, task.context);
  const begun = performance.now();
  const grammar = await model.engine.compileGrammar("jsonSchema", JSON.stringify(schema));
  const samples = {
    "decode-free": [] as number[],
    "decode-constrained": [] as number[],
    "constrained-time": [] as number[],
    compile: [performance.now() - begun],
  };
  for (let turn = -1; turn < task.repetitions; turn++) {
    const output = { read: context, rows: task.context, opener: 1, count: task.tokens + 1 };
    const free = rate((await generate(model, output)).arrivals);
    const constrained = rate((await generate(model, { ...output, grammar })).arrivals);
    if (turn < 0) continue;
    samples["decode-free"].push(free);
    samples["decode-constrained"].push(constrained);
    samples["constrained-time"].push(free / constrained);
  }
  await model.close();
  return samples;
}
