// SPDX-License-Identifier: Apache-2.0
// Where the engine writes what it spends its time on: BATON_TRACE, read when a model is opened.

import { resolve } from "node:path";

/** The file that BATON_TRACE names, absolute, with "%p" as the number of this process; undefined where it is unset. */
export function traceFile(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const { BATON_TRACE: file } = environment;
  return file === undefined || file === "" ? undefined : resolve(file.replaceAll("%p", String(process.pid)));
}
