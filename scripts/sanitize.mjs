// SPDX-License-Identifier: Apache-2.0
// The native unit tests under sanitizers, without suppressions. Any report ends the process, which counts as a failure.
//
//   npm run test:sanitize [-- FILTER...]     all tests under ASan and UBSan
//   npm run test:threads [-- FILTER...]      what runs on several threads (base, cache, engine) under TSan
import { parseArgs } from "node:util";
import { buildNative } from "./build-native.mjs";
import { entry, Stop, say } from "./lib/run.mjs";
import { runNative } from "./lib/suites.mjs";

const memory = {
  sanitizers: "address,undefined",
  filters: [],
  env: {
    ASAN_OPTIONS:
      "detect_leaks=1:strict_string_checks=1:check_initialization_order=1:allocator_may_return_null=1",
    UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
  },
};

const threads = {
  sanitizers: "thread",
  filters: ["test/native/base/", "test/native/cache/", "test/native/engine/"],
  env: {
    // Naming a segment may lock as many segments as it reads through; the deadlock detector ends at 64 locks.
    TSAN_OPTIONS: "halt_on_error=1:allocator_may_return_null=1:detect_deadlocks=0",
  },
};

await entry(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: "boolean", default: false } },
  });
  const { sanitizers, filters, env } = values.threads ? threads : memory;
  say(`building the native tests with -fsanitize=${sanitizers}`);
  const { tests } = await buildNative({ tests: true, sanitize: sanitizers });
  if (!tests) throw new Stop("the build made no baton_tests");
  const chosen = positionals.length > 0 ? positionals : filters;
  const results = await runNative(tests, { filters: chosen, env, label: "sanitized" });
  const failed = results.filter((result) => result.status === "failed");
  for (const result of failed) console.log(`${result.file} ${result.name}\n${result.messages.join("\n")}`);
  say(`under ${sanitizers}: ${results.length} results, ${failed.length} of them failed`);
  return failed.length > 0 || results.length === 0 ? 1 : 0;
});
