// SPDX-License-Identifier: Apache-2.0
// Tests under sanitizers, without suppressions: the native unit tests, and programs of TypeScript with an addon that was
// built so. Any report ends a process of tests, which counts as a failure. Of Node only what concerns the addon counts: it
// leaves memory behind when it ends, so that leaks are looked for in the native tests, and TSan, which sees nothing of how
// V8's threads agree, tells of races between them.
//
//   npm run test:sanitize [-- FILTER...]     under ASan and UBSan
//   npm run test:threads [-- FILTER...]      what runs on several threads, under TSan; then mixed work for half a minute
//
// FILTER: part of a native test's file or name, or of the path of a test file (.test.ts).
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { buildNative } from "./build-native.mjs";
import { ensureTypeScript } from "./lib/ensure.mjs";
import { entry, root, Stop, say } from "./lib/run.mjs";
import { broken, runNative, runVitest } from "./lib/suites.mjs";

const memory = {
  sanitizers: "address,undefined",
  runtime: "libasan.so",
  filters: [],
  withAddon: tests,
  env: (leaks) => ({
    ASAN_OPTIONS: `detect_leaks=${leaks}:strict_string_checks=1:check_initialization_order=1:allocator_may_return_null=1`,
    UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
  }),
};

const threads = {
  sanitizers: "thread",
  runtime: "libtsan.so",
  filters: ["test/native/base/", "test/native/cache/", "test/native/engine/"],
  withAddon: mixedWork,
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

function tests(env, filters) {
  return runVitest(filters.length > 0 ? filters : addonTests, { env, label: "sanitized addon" });
}

/** What scripts/soak.mjs does. Reports go to files, as Node's own races must not end the program. */
function mixedWork(env) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "baton-threads-"));
  const options = `log_path=${path.join(folder, "report")}:halt_on_error=0:exitcode=0:detect_deadlocks=0`;
  const args = ["--expose-gc", path.join(root, "scripts/soak.mjs"), "--work-only", "--minutes", "0.5"];
  const done = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: "utf8",
    timeout: 300_000, // a race may lose what others wait for
    env: { ...process.env, ...env, TSAN_OPTIONS: options },
  });
  const reports = readdirSync(folder).flatMap((name) =>
    readFileSync(path.join(folder, name), "utf8").split("WARNING: ThreadSanitizer").slice(1),
  );
  rmSync(folder, { recursive: true });
  const ours = reports.filter((report) => report.includes("baton.node"));
  say(
    `mixed work under TSan: ${ours.length} races of the addon, ${reports.length - ours.length} of Node alone`,
  );
  const name = "mixed work with the addon";
  if (ours.length > 0) return [broken("sanitized addon", name, ours[0])];
  if (done.status !== 0)
    return [
      broken("sanitized addon", name, `ended by ${done.signal ?? done.status}\n${done.stdout}${done.stderr}`),
    ];
  return [
    { suite: "sanitized addon", name, file: "scripts/soak.mjs", status: "passed", ms: 0, messages: [] },
  ];
}

async function underAddon(addon, { runtime, env, withAddon }, filters) {
  const file = preloaded(runtime);
  if (file === null) {
    say(`left out: the addon's tests (the compiler has no ${runtime})`);
    return [];
  }
  await ensureTypeScript();
  return withAddon({ ...env(0), BATON_ADDON: addon, LD_PRELOAD: file }, filters);
}

await entry(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: "boolean", default: false } },
  });
  const kind = values.threads ? threads : memory;
  say(`building the native tests with -fsanitize=${kind.sanitizers}`);
  const built = await buildNative({ tests: true, sanitize: kind.sanitizers, addon: true });
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
  if (all || ofAddon.length > 0) results.push(...(await underAddon(built.addon, kind, ofAddon)));
  const failed = results.filter((result) => result.status === "failed");
  for (const result of failed) console.log(`${result.file} ${result.name}\n${result.messages.join("\n")}`);
  say(`under ${kind.sanitizers}: ${results.length} results, ${failed.length} of them failed`);
  return failed.length > 0 || results.length === 0 ? 1 : 0;
});
