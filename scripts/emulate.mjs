// SPDX-License-Identifier: Apache-2.0
// The native tests of what runs on kernels, with those for AVX-512 and AMX emulated, so that they are run wherever there is
// AVX2. Wants the headers of SIMDe (Debian: libsimde-dev).
//
//   npm run test:emulated [-- FILTER...]
import { parseArgs } from "node:util";
import { buildNative } from "./build-native.mjs";
import { entry, Stop, say } from "./lib/run.mjs";
import { runNative } from "./lib/suites.mjs";

const filters = ["test/native/kernels/", "test/native/device/", "test/native/engine/", "test/native/tune/"];

await entry(async () => {
  const { positionals } = parseArgs({ allowPositionals: true });
  const { tests } = await buildNative({ tests: true, emulated: true });
  if (!tests) throw new Stop("the build made no baton_tests_emulated");
  const chosen = positionals.length > 0 ? positionals : filters;
  const results = await runNative(tests, { filters: chosen, label: "emulated" });
  const failed = results.filter((result) => result.status === "failed");
  for (const result of failed) console.log(`${result.file} ${result.name}\n${result.messages.join("\n")}`);
  say(`with emulated AVX-512 and AMX: ${results.length} results, ${failed.length} of them failed`);
  return failed.length > 0 || results.length === 0 ? 1 : 0;
});
