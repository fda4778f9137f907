// SPDX-License-Identifier: Apache-2.0
// The harness of the native tests and its reader, on a program whose tests pass, fail, skip, throw and crash: what the
// count at the end of `npm test` says must be what happened.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { root } from "../../scripts/lib/run.mjs";
import { runNative } from "../../scripts/lib/suites.mjs";

const source = `
#include "base/error.h"
#include "check.h"
TEST("passes") { CHECK(true); CHECK_EQ(2, 2u); CHECK_NEAR(1.0, 1.05, 0.1); }
TEST("fails and goes on") { CHECK_EQ(1, 2); CHECK_NEAR(0.0, 0.0 / 0.0, 1.0); CHECK(true); }
TEST("ends at a requirement") { REQUIRE(1 > 2); CHECK(false); }
TEST("throws") { CHECK(true); throw baton::Error("IO", "no \\"disk\\""); }
TEST("wants an error") { CHECK_THROWS("IO", throw baton::Error("IO", "x")); }
TEST("gets another error") { CHECK_THROWS("IO", throw baton::Error("CLOSED", "x")); }
TEST("gets no error") { CHECK_THROWS("IO", (void)0); }
TEST("is skipped") { SKIP("no such device"); }
TEST("checks nothing") {}
TEST("crash") { CHECK(true); __builtin_trap(); }
TEST("is never reached") { CHECK(true); }
`;

let folder = "";
let program = "";

beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "baton-harness-"));
  program = path.join(folder, "tests");
  writeFileSync(path.join(folder, "sample.cpp"), source);
  const compiler = process.env.CXX?.trim().split(/\s+/)[0] || "c++";
  const includes = ["-I", path.join(root, "native"), "-I", path.join(root, "test/native")];
  const harness = ["main.cpp", "check.cpp"].map((file) => path.join(root, "test/native", file));
  const files = [path.join(folder, "sample.cpp"), ...harness];
  execFileSync(compiler, ["-std=c++20", "-pthread", ...includes, ...files, "-o", program]);
});

afterAll(() => rmSync(folder, { recursive: true }));

describe("the harness of the native tests", () => {
  it("reports what happened, test by test", async () => {
    const wanted = ["passes", "fails", "ends", "throws", "wants", "gets", "skipped", "nothing"];
    const results = await runNative(program, { filters: wanted });
    const outcome = Object.fromEntries(results.map(({ name, status }) => [name, status]));
    expect(outcome).toEqual({
      passes: "passed",
      "fails and goes on": "failed",
      "ends at a requirement": "failed",
      throws: "failed",
      "wants an error": "passed",
      "gets another error": "failed",
      "gets no error": "failed",
      "is skipped": "skipped",
      "checks nothing": "failed",
    });
    const of = (name: string) => results.find((result) => result.name === name);
    expect(of("fails and goes on")?.messages).toHaveLength(2);
    expect(of("fails and goes on")?.messages[0]).toContain("1 == 2: 1 is not 2");
    expect(of("ends at a requirement")?.messages).toHaveLength(1);
    expect(of("throws")?.messages[0]).toContain('IO: no "disk"');
    expect(of("is skipped")?.reason).toBe("no such device");
  });

  it("counts a crash as a failure of the test it happened in", async () => {
    const results = await runNative(program, { filters: ["passes", "crash", "never"] });
    expect(results.map(({ name, status }) => [name, status])).toEqual([
      ["passes", "passed"],
      ["(native test process)", "failed"],
    ]);
    expect(results[1]?.messages[0]).toMatch(/^crash: the process was ended by SIG(ILL|TRAP)/);
  });

  it("counts a program that ends early as a failure", async () => {
    const early = path.join(folder, "early");
    writeFileSync(
      early,
      '#!/bin/sh\necho \'{"name":"a","file":"f","status":"passed","messages":[]}\'\nexit 0\n',
      {
        mode: 0o755,
      },
    );
    const results = await runNative(early);
    expect(results.map(({ status }) => status)).toEqual(["passed", "failed"]);
  });
});
