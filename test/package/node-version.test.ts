// SPDX-License-Identifier: Apache-2.0
// A Node that is too old is told so in one sentence, by the program and by the library.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../src/native/load.js";
import { requireNode } from "../../src/node-version.js";

const root = packageRoot() as string;
const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const program = readFileSync(join(root, "bin/baton.cjs"), "utf8");

/** Starts the program in a process that says it is of another version. */
function start(version: string) {
  const versions = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: ${JSON.stringify(version)} } })`;
  const code = `${versions}; process.argv.push("baton", "--version"); require("./bin/baton.cjs")`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["-e", code], {
    cwd: root,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

describe.each(["4.9.1", "12.22.0", "18.20.8", "20.9.0", "20.18.3"])("Node %s", (version) => {
  test("is refused by the program, with the version that it needs", () => {
    const { status, stdout, stderr } = start(version);
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(
      new RegExp(`^baton: this is Node ${version}, and Baton needs ${lowest} or newer\\. .*\\n$`),
    );
  });

  test("is refused by the library, without a trace", () => {
    let error: Error | null = null;
    try {
      requireNode(version);
    } catch (thrown) {
      error = thrown as Error;
    }
    expect(error?.message).toMatch(
      new RegExp(`^This is Node ${version}, and baton-lm needs ${lowest} or newer`),
    );
    expect(error?.stack).toBe(`NodeVersionError: ${error?.message}`);
  });
});

test.each(["20.19.0", "20.20.1", "22.0.0", "100.1.0"])("Node %s is taken by both", (version) => {
  expect(start(version)).toMatchObject({ status: 0, stderr: "" });
  expect(() => requireNode(version)).not.toThrow();
});

const lowest = engines.node.replace(">=", "");

test("both name the version of package.json", () => {
  expect(engines.node).toMatch(/^>=\d+\.\d+$/);
  expect(program).toContain(` ${lowest} `);
  expect(() => requireNode(lowest)).not.toThrow();
});

test("the program's first file has no word that is younger than Node 10", () => {
  expect(program).not.toMatch(/\?\.|\?\?|=>\s*\{|\bawait\b|\bexport\b|^import\s/m);
});
