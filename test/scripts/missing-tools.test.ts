// SPDX-License-Identifier: Apache-2.0
// What a newcomer sees when something is missing: one sentence with the remedy, and no stack trace.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { root } from "../../scripts/lib/run.mjs";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "baton-tools-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A program that prints a version and does nothing else. */
function tool(name: string, version: string): void {
  writeFileSync(path.join(folder, name), `#!/bin/sh\necho "${version}"\n`, { mode: 0o755 });
}

/** Calls one of the tool checks with a PATH that has the folder alone. */
function ask(check: string, env: Record<string, string> = {}): { status: number | null; text: string } {
  symlinkSync("/bin/sh", path.join(folder, "sh"));
  const code = `
    import { ${check} } from ${JSON.stringify(path.join(root, "scripts/lib/tools.mjs"))};
    import { entry } from ${JSON.stringify(path.join(root, "scripts/lib/run.mjs"))};
    await entry(() => { ${check}(); });`;
  const done = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
    encoding: "utf8",
    env: { PATH: folder, ...env },
  });
  return { status: done.status, text: done.stderr };
}

describe("a missing tool", () => {
  it.each([
    ["requireCMake", /CMake is missing.*apt-get install cmake|brew install cmake/],
    ["requireCompiler", /C\+\+20 compiler is missing.*apt-get install g\+\+|Xcode/],
    ["requireBuildTool", /ninja nor make.*apt-get install ninja-build|Xcode/],
  ])("%s is one sentence with the remedy", (check, sentence) => {
    const { status, text } = ask(check);
    expect(status).toBe(1);
    expect(text).toMatch(sentence);
    expect(text.trim().split("\n")).toHaveLength(1);
  });

  it("an old CMake is named with its version", () => {
    tool("cmake", "cmake version 3.10.2");
    expect(ask("requireCMake").text).toContain("cmake version 3.10.2 is too old, 3.18 is needed");
  });

  it("a new CMake is taken", () => {
    tool("cmake", "cmake version 4.0.1");
    expect(ask("requireCMake")).toEqual({ status: 0, text: "" });
  });

  it("a CXX that does not start is named", () => {
    tool("g++", "g++ 12.2.0");
    expect(ask("requireCompiler", { CXX: "no-such-compiler" }).text).toContain("no-such-compiler (from CXX)");
    rmSync(path.join(folder, "sh"));
    expect(ask("requireCompiler").status).toBe(0);
  });
});
