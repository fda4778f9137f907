// SPDX-License-Identifier: Apache-2.0
// An inline function that an instruction-set file instantiates is a weak symbol, and the linker may take that copy for
// everybody: plain code would then run AVX-512. So those objects define no weak symbol at all.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { workFolder } from "../../scripts/build-native.mjs";
import { root } from "../../scripts/lib/run.mjs";
import { codeFiles } from "./support/tree.js";

/** Names of weak and unique symbols that the object file defines. */
function weakSymbols(object: string): string[] {
  const table = execFileSync("nm", ["--defined-only", "--format=posix", object], { encoding: "utf8" });
  return table.split("\n").flatMap((line) => {
    const [name, type] = line.split(" ");
    return name && type && /^[WwVvu]$/.test(type) ? [name] : [];
  });
}

function objectOf(source: string, isa: string): string {
  return path.join(workFolder(), "CMakeFiles", `baton_kernels_${isa}.dir`, `${source}.o`);
}

describe("objects of an instruction set", () => {
  it.for(["avx2", "avx512", "amx"])("%s: none defines a weak symbol", (isa, test) => {
    test.skip(process.arch !== "x64", "this machine has none of the x64 instruction sets");
    const sources = codeFiles(["native"]).filter((file) => file.endsWith(`_${isa}.cpp`));
    expect(sources.length).toBeGreaterThan(0);
    const missing = sources.filter((source) => !existsSync(objectOf(source, isa)));
    expect(missing, "compiled by `npm run build`").toEqual([]);
    const weak = sources.flatMap((source) =>
      weakSymbols(objectOf(source, isa)).map((name) => `${source}: ${name}`),
    );
    expect(weak).toEqual([]);
  });

  it("a weak symbol would be seen", () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "baton-nm-"));
    try {
      const source = path.join(folder, "weak.cpp");
      writeFileSync(
        source,
        "template <class T> __attribute__((noinline)) T twice(T x) { return x + x; }\nint f(int a) { return twice(a); }\n",
      );
      const compiler = process.env.CXX?.trim().split(/\s+/)[0] || "c++";
      execFileSync(compiler, ["-c", source, "-o", path.join(folder, "weak.o")]);
      expect(weakSymbols(path.join(folder, "weak.o"))).toHaveLength(1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the addon", () => {
  it("exports what Node looks up and nothing else", (test) => {
    test.skip(process.platform !== "linux", "the list of exports is a linker script of ELF platforms");
    const table = execFileSync("nm", [
      "-D",
      "--defined-only",
      "--format=posix",
      path.join(root, "build/Release/baton.node"),
    ]);
    const names = table
      .toString()
      .trim()
      .split("\n")
      .map((line) => line.split(" ")[0]);
    expect(names.sort()).toEqual(["napi_register_module_v1", "node_api_module_get_api_version_v1"]);
  });
});
