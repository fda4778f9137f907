// SPDX-License-Identifier: Apache-2.0
// What the addon has to say becomes a process warning with code and facts, each one once.

import { expect, test } from "vitest";
import { loadNative } from "../../src/native/load.js";
import type { NativeWarning } from "../../src/native/types.js";
import { emitWarnings } from "../../src/native/warnings.js";

/** What `process` hears while `run` runs and shortly after. */
async function warningsOf(run: () => void): Promise<Error[]> {
  const heard: Error[] = [];
  const listen = (warning: Error) => heard.push(warning);
  process.on("warning", listen);
  run();
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", listen);
  return heard;
}

test("a replaced kernel is a BatonWarning that names kernel, instruction set and error", async () => {
  const facts = { kernel: "rmsnorm", isa: "avx512", error: 0.1, by: "avx2" };
  const queue: NativeWarning[][] = [
    [{ code: "KERNEL_REPLACED", message: "The avx512 kernel is wrong.", facts }],
  ];
  const takeWarnings = () => queue.shift() ?? [];
  const heard = await warningsOf(() => {
    emitWarnings({ takeWarnings });
    emitWarnings({ takeWarnings });
  });
  expect(heard).toHaveLength(1);
  expect(heard[0]).toMatchObject({
    name: "BatonWarning",
    code: "KERNEL_REPLACED",
    message: "The avx512 kernel is wrong.",
    facts,
  });
});

test("the addon of this machine has nothing to say: no kernel of it is wrong", async () => {
  const native = loadNative();
  expect(native.doctor().replaced).toEqual([]);
  expect(await warningsOf(() => emitWarnings(native))).toEqual([]);
});
