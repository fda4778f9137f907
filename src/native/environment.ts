// SPDX-License-Identifier: Apache-2.0
// Options of a model that the environment gives where the program says nothing, read when a model is opened.

import { traceFile } from "./trace.js";
import type { NativeModelOptions } from "./types.js";

/** BATON_TRACE and, for models on the CPU, BATON_WATCH_NUMBERS. */
export function byEnvironment(
  { device = "cpu" }: Pick<NativeModelOptions, "device">,
  environment: NodeJS.ProcessEnv = process.env,
): Partial<NativeModelOptions> {
  const trace = traceFile(environment);
  const watched = environment.BATON_WATCH_NUMBERS === "1" && !device.startsWith("cuda");
  return { ...(trace === undefined ? {} : { trace }), ...(watched ? { watchNumbers: true } : {}) };
}
