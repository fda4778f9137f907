// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { sourceFiles } from "../../scripts/lib/files.mjs";
import { root } from "../../scripts/lib/run.mjs";
import { codeFiles, textOf } from "./support/tree.js";

const licence = /SPDX-License-Identifier: Apache-2\.0\s*(?:\*\/|-->)?$/m;
const textExtensions = [
  ".cpp",
  ".h",
  ".cu",
  ".cuh",
  ".ts",
  ".mjs",
  ".js",
  ".py",
  ".json",
  ".md",
  ".txt",
  ".sh",
  ".yml",
  ".gyp",
  ".toml",
  ".jinja",
];

/** Written in parts, or this file would break its own rule. */
const registryHosts = [
  ["registry", "npmjs", "org"],
  ["npmjs", "com"],
  ["pypi", "org"],
  ["pythonhosted", "org"],
  ["deb", "debian", "org"],
  ["crates", "io"],
].map((parts) => parts.join("."));

function firstLines(text: string): string {
  return text.split("\n").slice(0, 3).join("\n");
}

function listedSources(cmake: string): string[] {
  return [...cmake.matchAll(/\b((?:native|test\/native)\/[\w./-]+\.(?:cpp|cu))\b/g)].map(
    (match) => match[1] ?? "",
  );
}

describe("sources", () => {
  it("each names its licence in the first lines", () => {
    const files = [
      ...codeFiles(),
      ...sourceFiles(["test", "bench"], [".py"]),
      "CMakeLists.txt",
      "binding.gyp",
      ".ci/run",
    ];
    expect(files.filter((file) => !licence.test(firstLines(textOf(file))))).toEqual([]);
    expect(licence.test("// Copyright")).toBe(false);
  });

  it("CMakeLists.txt lists exactly the native sources, each once", () => {
    const listed = listedSources(textOf("CMakeLists.txt"));
    const there = codeFiles(["native", "test/native"], [".cpp", ".cu"]);
    expect(there.length).toBeGreaterThan(20);
    expect([...listed].sort()).toEqual(there);
  });

  const locks = ["package-lock.json", "site/package-lock.json"];
  it.each(locks)("%s lists every optional dependency, or `npm ci` refuses it", (lock) => {
    const packages = JSON.parse(textOf(lock)).packages as Record<
      string,
      { optionalDependencies?: Record<string, string> }
    >;
    const missing = Object.entries(packages).flatMap(([name, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter(
        (wanted) => !packages[`node_modules/${wanted}`] && !packages[`${name}/node_modules/${wanted}`],
      ),
    );
    expect(
      missing,
      "a registry that lacks some of them leaves them out: add name, version, os and cpu by hand",
    ).toEqual([]);
  });

  it("none names the host of a package registry", () => {
    const top = ["native", "src", "bench", "test", "scripts", "demo", "docs", "examples", "site", ".ci"];
    const rootFiles = [
      "package.json",
      "package-lock.json",
      "README.md",
      "ARCHITECTURE.md",
      "CONTRIBUTING.md",
      "CHANGELOG.md",
    ];
    const files = [...sourceFiles(top, [...textExtensions, ""]), ...rootFiles];
    const faults = files.flatMap((file) => {
      const text = readFileSync(path.join(root, file), "latin1");
      return registryHosts.filter((host) => text.includes(host)).map((host) => `${file}: ${host}`);
    });
    expect(faults).toEqual([]);
    expect(files.length).toBeGreaterThan(100);
  });

  it("importing the package loads neither the Hub's library nor Ajv, which took a third of its time", () => {
    const loads =
      /^(?:import|export) (?!type\b)[^;]*? from "(?:@huggingface\/hub|ajv)"|\bawait import\("ajv"\)/m;
    expect(codeFiles(["src"]).filter((file) => loads.test(textOf(file)))).toEqual([]);
    expect(loads.test('import { Ajv } from "ajv";')).toBe(true);
    expect(loads.test('import type { Ajv } from "ajv";')).toBe(false);
  });

  it("a test that is skipped says why: `npm test` takes a skip without a reason for a failure", () => {
    const silent = /\b(?:describe|it|test)\.(?:skipIf|runIf|todo)\b\(/;
    expect(codeFiles(["test"], [".ts"]).filter((file) => silent.test(textOf(file)))).toEqual([]);
    expect(silent.test(["describe", "skipIf(true)"].join("."))).toBe(true);
  });
});
