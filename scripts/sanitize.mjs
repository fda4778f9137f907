// SPDX-License-Identifier: Apache-2.0
// Tests under sanitizers, without suppressions: the native unit tests, and those of TypeScript with an addon that was
// built so. Any report ends the process, which counts as a failure. Leaks are looked for in the native tests only: Node
// itself leaves memory behind when it ends.
//
//   npm run test:sanitize [-- FILTER...]     under ASan and UBSan
//   npm run test:threads [-- FILTER...]      what runs on several threads, under TSan
//
// FILTER: part of a native test's file or name, or of the path of a test file (.test.ts).
import { spawnSync } from "node:child_process";
import path from "node:path";
import { parseArgs } from "node:util";
import { buildNative } from "./build-native.mjs";
import { ensureTypeScript } from "./lib/ensure.mjs";
import { entry, Stop, say } from "./lib/run.mjs";
import { runNative, runVitest } from "./lib/suites.mjs";

const memory = {
  sanitizers: "address,undefined",
  runtime: "libasan.so",
  filters: [],
  env: (leaks) => ({
    ASAN_OPTIONS: `detect_leaks=${leaks}:strict_string_checks=1:check_initialization_order=1:allocator_may_return_null=1`,
    UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
  }),
};

const threads = {
  sanitizers: "thread",
  runtime: null,
  filters: ["test/native/base/", "test/native/cache/", "test/native/engine/"],
  env: () => ({
    // Naming a segment may lock as many segments as it reads through; the deadlock detector ends at 64 locks.
    TSAN_OPTIONS: "halt_on_error=1:allocator_may_return_null=1:detect_deadlocks=0",
  }),
};

/** What uses all of the addon with small models: with a real one, kernels that look at every access take minutes. */
const addonTests = [
  ...["test/cache/", "test/robustness/", "test/chain/"],
  ...["--exclude=test/chain/smollm2.test.ts", "--exclude=test/chain/drafting.test.ts"],
];

/** Node was built without sanitizers: what they are made of must be there before it starts. */
function preloaded(runtime) {
  const compiler = process.env.CXX?.trim() || "c++";
  const { stdout } = spawnSync(compiler, [`-print-file-name=${runtime}`], { encoding: "utf8" });
  const file = (stdout ?? "").trim();
  return path.isAbsolute(file) ? file : null;
}

async function underAddon(addon, { runtime, env }, filters) {
  const file = preloaded(runtime);
  if (file === null) {
    say(`left out: the addon's tests (the compiler has no ${runtime})`);
    return [];
  }
  await ensureTypeScript();
  return runVitest(filters, {
    env: { ...env(0), BATON_ADDON: addon, LD_PRELOAD: file },
    label: "sanitized addon",
  });
}

await entry(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: "boolean", default: false } },
  });
  const kind = values.threads ? threads : memory;
  say(`building the native tests with -fsanitize=${kind.sanitizers}`);
  const built = await buildNative({ tests: true, sanitize: kind.sanitizers, addon: kind.runtime !== null });
  if (!built.tests) throw new Stop("the build made no baton_tests");
  const [ofAddon, native] = [true, false].map((ts) =>
    positionals.filter((one) => one.endsWith(".test.ts") === ts),
  );
  const all = positionals.length === 0;
  const results = [];
  if (all || native.length > 0) {
    const filters = all ? kind.filters : native;
    results.push(...(await runNative(built.tests, { filters, env: kind.env(1), label: "sanitized" })));
  }
  if (kind.runtime !== null && (all || ofAddon.length > 0))
    results.push(...(await underAddon(built.addon, kind, all ? addonTests : ofAddon)));
  const failed = results.filter((result) => result.status === "failed");
  for (const result of failed) console.log(`${result.file} ${result.name}\n${result.messages.join("\n")}`);
  say(`under ${kind.sanitizers}: ${results.length} results, ${failed.length} of them failed`);
  return failed.length > 0 || results.length === 0 ? 1 : 0;
});
