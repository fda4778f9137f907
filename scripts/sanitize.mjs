// SPDX-License-Identifier: Apache-2.0
// The native unit tests under ASan and UBSan, without suppressions. Any report ends the process, which counts as a
// failure.
import { buildNative } from "./build-native.mjs";
import { entry, Stop, say } from "./lib/run.mjs";
import { runNative } from "./lib/suites.mjs";

const sanitizers = "address,undefined";
const env = {
  ASAN_OPTIONS:
    "detect_leaks=1:strict_string_checks=1:check_initialization_order=1:allocator_may_return_null=1",
  UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
};

await entry(async () => {
  say(`building the native tests with -fsanitize=${sanitizers}`);
  const { tests } = await buildNative({ tests: true, sanitize: sanitizers });
  if (!tests) throw new Stop("the build made no baton_tests");
  const results = await runNative(tests, { filters: process.argv.slice(2), env, label: "sanitized" });
  const failed = results.filter((result) => result.status === "failed");
  for (const result of failed) console.log(`${result.file} ${result.name}\n${result.messages.join("\n")}`);
  say(`under ${sanitizers}: ${results.length} results, ${failed.length} of them failed`);
  return failed.length > 0 || results.length === 0 ? 1 : 0;
});
