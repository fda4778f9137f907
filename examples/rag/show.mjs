// SPDX-License-Identifier: Apache-2.0
// Runs an example's chain and prints every stage as it writes, then what the run has computed and read again.

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BatonError, loadModel } from "baton-lm";

/** Options of all examples: fewer tokens per stage than the example asks for, texts as prompts, another model. */
function readOptions() {
  const { values } = parseArgs({
    options: {
      "max-tokens": { type: "string" },
      untuned: { type: "boolean" },
      model: { type: "string" },
    },
  });
  return {
    model: values.model ?? "smollm2-135m-instruct",
    most: Number(values["max-tokens"] ?? 1000),
    untuned: values.untuned ?? false,
  };
}

/**
 * The path of a prompt that the package ships.
 * @param {string} name
 */
const folderOf = (name) =>
  fileURLToPath(new URL(`prompts/${name}`, import.meta.resolve("baton-lm/package.json")));

/**
 * @template Results
 * @param {import("baton-lm").ChainRun<string, Results>} run
 */
async function stream(run) {
  const total = { computed: 0, reused: 0 };
  let speaking = "";
  for await (const event of run) {
    if (event.type === "text-delta") {
      const text = speaking === event.stage ? event.text : event.text.trimStart();
      if (text === "") continue; // a stage is shown from its first letter on
      if (speaking !== event.stage) process.stdout.write(`\n[${event.stage}] `);
      speaking = event.stage;
      process.stdout.write(text);
    } else if (event.type === "warning") console.error(`warning: ${event.message}`);
    else if (event.type === "stage-end") {
      total.computed += event.usage.rowsComputed;
      total.reused += event.usage.rowsReused;
    }
  }
  const result = await run.result;
  console.log(`\n\nrows computed: ${total.computed}, read from the cache instead: ${total.reused}`);
  return result;
}

/**
 * What `show` needs of a chain.
 * @template Inputs, Results
 * @typedef {object} Runnable
 * @property {(prompts: Record<string, string>) => Runnable<Inputs, Results>} withPrompts
 * @property {(inputs: Inputs) => import("baton-lm").ChainRun<string, Results>} run
 */

/**
 * @template {Record<string, string>} Inputs
 * @template Results
 * @param {object} example
 * @param {(model: import("baton-lm").Model, most: number) => Runnable<Inputs, Results>} example.chain the chain with
 *   texts as prompts, `most` tokens a stage at most
 * @param {Record<string, string>} [example.trained] prompts that the package ships, by the stage that they were trained for
 * @param {Inputs} example.inputs
 * @param {(result: Results) => string} [example.report] what there is to say at the end
 */
export async function show({ chain, trained = {}, inputs, report }) {
  try {
    const { model: name, most, untuned } = readOptions();
    const prompts = untuned ? [] : Object.entries(trained).map(([stage, name]) => [stage, folderOf(name)]);
    const model = await loadModel(name);
    try {
      for (const [input, text] of Object.entries(inputs)) console.log(`${input}: ${text}`);
      const specialists = chain(model, most).withPrompts(Object.fromEntries(prompts));
      const result = await stream(specialists.run(inputs));
      if (report !== undefined) console.log(report(result));
    } finally {
      await model.close();
    }
  } catch (error) {
    if (!BatonError.isInstance(error)) throw error;
    console.error(`${error.message} [${error.code}]`);
    process.exitCode = 1;
  }
}
