// SPDX-License-Identifier: Apache-2.0
// Runs an example's chain and prints every stage as it writes, then what the run has computed and read again.

import { parseArgs } from "node:util";
import { BatonError, loadModel } from "baton-lm";

/** Options of all examples: fewer tokens per stage than the example asks for, and another model. */
function readOptions() {
  const options = { "max-tokens": { type: "string" }, model: { type: "string" } };
  const { values } = parseArgs({ options });
  return { model: values.model ?? "smollm2-135m-instruct", most: Number(values["max-tokens"] ?? 1000) };
}

async function stream(run) {
  const total = { computed: 0, reused: 0 };
  let speaking = "";
  for await (const event of run) {
    if (event.type === "text-delta") {
      if (speaking !== event.stage) process.stdout.write(`\n[${event.stage}] `);
      speaking = event.stage;
      process.stdout.write(event.text);
    } else if (event.type === "stage-end") {
      total.computed += event.usage.rowsComputed;
      total.reused += event.usage.rowsReused;
    }
  }
  const result = await run.result;
  console.log(`\n\nrows computed: ${total.computed}, read from the cache instead: ${total.reused}`);
  return result;
}

/**
 * `chain(model, most)`: the chain, `most` tokens a stage at most; `inputs`: what it is run with; `report(result)`: what
 * there is to say at the end.
 */
export async function show({ chain, inputs, report }) {
  try {
    const { model: name, most } = readOptions();
    const model = await loadModel(name);
    try {
      for (const [input, text] of Object.entries(inputs)) console.log(`${input}: ${text}`);
      const result = await stream(chain(model, most).run(inputs));
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
