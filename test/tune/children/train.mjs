// SPDX-License-Identifier: Apache-2.0
// A training run of the exact task in a process of its own, to be killed or cut off. Prints a line of JSON per step as
// it is made, and at the end { done } or { code, facts } of what failed.
// Arguments: options of the run as JSON.

import { writeSync } from "node:fs";
import { HostParameters } from "../../../dist/tune/host-parameters.js";
import { checkTrainOptions } from "../../../dist/tune/settings.js";
import { train } from "../../../dist/tune/train.js";
import { RegressionTask, regressionItems } from "../regression.mjs";

const options = JSON.parse(process.argv[2]);
const print = (value) => writeSync(1, `${JSON.stringify(value)}\n`);
const task = new RegressionTask();
task.hold = async (numbers) => new HostParameters(task, numbers);
try {
  const result = await train({
    task,
    items: regressionItems(13),
    dev: [],
    initial: task.initial(),
    identity: { model: "m", chain: "c", data: "d" },
    factsOf: async (values) => values.map(() => ({})), // nothing is exported
    settings: checkTrainOptions(options, false),
    signal: new AbortController().signal,
    onStep: ({ step, loss }) => print({ step, loss }),
    onWarning: (warning) => print({ warning }),
  });
  print({ done: true, resumedFrom: result.resumedFrom, losses: result.steps.map(({ loss }) => loss) });
} catch (error) {
  print({ code: error.code, facts: error.facts });
}
