// SPDX-License-Identifier: Apache-2.0
// Options of loadModel by names that there are not: refused before a model is looked for.

import { expect, test } from "vitest";
import type { LoadOptions } from "../../src/index.js";
import { loadModel } from "../../src/index.js";

const failure = (options: object) =>
  loadModel("no-such-model", options as LoadOptions).catch((error: unknown) => error);

test.each([
  ["thread", "threads"],
  ["cachebytes", "cacheBytes"],
  ["onprogress", "onProgress"],
])("`%s` is told with the nearest name that there is", async (option, meant) => {
  const error = await failure({ [option]: 1 });
  expect(error).toMatchObject({ code: "OPTION_INVALID", facts: { option } });
  expect((error as Error).message).toBe(
    `loadModel has an unknown option \`${option}\`. Known: ${(error as { facts: { available: string[] } }).facts.available.join(", ")}. Did you mean "${meant}"?`,
  );
});

test("names that are known pass, whatever comes next", async () => {
  const options = { signal: new AbortController().signal, cacheDir: "/nowhere", env: {}, drafting: "off" };
  expect(await failure(options)).toMatchObject({ code: "SOURCE_FAILED" });
});
