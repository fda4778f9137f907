// SPDX-License-Identifier: Apache-2.0
// npm test: builds what is stale, runs every suite and ends with `N passed, N failed, N skipped`, counted from the
// results that the suites reported. A skip without a reason is a failure.
//
//   npm test [-- [--only native|ts] [FILTER...]]     FILTER: part of a native test's name or of a test file's path
import path from "node:path";
import { parseArgs } from "node:util";
import { ensureBuilt } from "./lib/ensure.mjs";
import { entry, root, say } from "./lib/run.mjs";
import { broken, runNative, runVitest } from "./lib/suites.mjs";

/** Capped instruction sets under which tests of kernels and engine run again: one machine tests every path. */
const cappedIsas = ["scalar", "avx2"];
const perIsaTests = ["test/native/kernels/", "test/native/device/"];

/** The default model for the native tests that want one; where it cannot be had they are skipped and say so. */
async function defaultModel() {
  const { resolveModel } = await import(path.join(root, "dist/index.js"));
  try {
    const { path: file } = await resolveModel("smollm2-135m-instruct");
    return { BATON_TEST_MODEL: file };
  } catch (error) {
    say(`the default model is not there: ${error.message}`);
    return {};
  }
}

async function nativeResults(program, filters) {
  if (!program) return [];
  const results = await runNative(program, { filters, env: await defaultModel() });
  if (filters.length > 0) return results;
  for (const isa of cappedIsas) {
    const label = `native, BATON_ISA=${isa}`;
    const capped = await runNative(program, { filters: perIsaTests, env: { BATON_ISA: isa }, label });
    // a filter that names nothing any more must not pass for tests that passed
    results.push(...(capped.length > 0 ? capped : [broken(label, "(native tests)", "no test was run")]));
  }
  return results;
}

function withReasons(results) {
  return results.map((result) =>
    result.status === "skipped" && !result.reason
      ? {
          ...result,
          status: "failed",
          messages: ["skipped without a reason: say why, ctx.skip(reason) or SKIP(reason)"],
        }
      : result,
  );
}

function title(result) {
  return [`[${result.suite}]`, result.file, result.name].filter(Boolean).join(" ");
}

function indented(text) {
  return text.trimEnd().replace(/^/gm, "    ");
}

function print(results) {
  const of = (status) => results.filter((result) => result.status === status);
  const [passed, failed, skipped] = [of("passed"), of("failed"), of("skipped")];
  if (skipped.length > 0) console.log("\nSkipped:");
  for (const result of skipped) console.log(`  ${title(result)}: ${result.reason}`);
  if (failed.length > 0) console.log("\nFailed:");
  for (const result of failed) console.log(`  ${title(result)}\n${result.messages.map(indented).join("\n")}`);
  console.log(`\n${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`);
  return failed.length > 0 || passed.length === 0 ? 1 : 0;
}

await entry(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { only: { type: "string" } },
  });
  const { tests } = await ensureBuilt();
  const results = [];
  if (values.only !== "ts") {
    say("native unit tests");
    results.push(...(await nativeResults(tests, positionals)));
    const failed = results.filter((result) => result.status === "failed").length;
    say(`native unit tests: ${results.length} results, ${failed} failed`);
  }
  if (values.only !== "native") {
    say("TypeScript tests and rules");
    results.push(...runVitest(positionals));
  }
  return print(withReasons(results));
});
