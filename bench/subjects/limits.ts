// SPDX-License-Identifier: Apache-2.0
// What the machine can read, measured between the turns of those who read: the suite of kernels' own program and figure.

import { statSync } from "node:fs";
import type { Samples, Subject, Task, TrialSettings } from "../contract.js";
import { checkSection, type OpsLimit } from "../ops/report.js";
import { buildProgram, compiledProgram, runProgram } from "../ops/suite.js";

/** B/s of the smallest buffer that holds as much, or of the largest: the best that was seen. */
export function readLimit(limits: readonly OpsLimit[], bytes: number): number {
  const reads = limits.filter((one) => one.unit === "B/s").sort((a, b) => a.bytes - b.bytes);
  const found = reads.find((one) => one.bytes >= bytes) ?? reads.at(-1);
  if (found === undefined) throw new Error("the program measured no bandwidth");
  return found.rate.max;
}

async function measure(_: Task, settings: TrialSettings): Promise<Samples> {
  const program = compiledProgram() ?? (await buildProgram());
  const args = ["--json", "--section", "limits", "--repeat", "5", "--quick"];
  const printed = await runProgram(program, [...args, "--threads", String(settings.threads)]);
  const { limits } = checkSection(JSON.parse(printed));
  return { bandwidth: [readLimit(limits, statSync(settings.model).size) / 1e9] };
}

export const limits: Subject = {
  name: "limits",
  rival: false,
  kinds: [],
  measure,
  async describe() {
    await buildProgram(); // what is there may be of an earlier commit
    return "read bandwidth of all threads together, the best of 10, of a buffer that is no smaller than the file";
  },
};
