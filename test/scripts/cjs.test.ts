// SPDX-License-Identifier: Apache-2.0
// What require() gets of the built package: the modules that import() gives, not a second copy of them.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { dualEntries, reachable } from "../../scripts/lib/cjs.mjs";
import { root } from "../../scripts/lib/run.mjs";

const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
const entries: { import: Record<string, string>; require: Record<string, string> }[] = dualEntries(manifest);
const at = (file: string | undefined) => path.join(root, file ?? "");

describe("dist/cjs", () => {
  it("is there for every entry that has code", () => {
    expect(entries.length).toBe(Object.keys(manifest.exports).filter((name) => !/\.json$/.test(name)).length);
  });

  it.each(entries)("$require.default has the names of $import.default, and the same things", (one) => {
    const [required, imported] = [at(one.require.default), pathToFileURL(at(one.import.default)).href];
    const program = `
      const required = require(${JSON.stringify(required)});
      import(${JSON.stringify(imported)}).then((imported) => {
        const names = Object.keys(imported);
        const strange = names.filter((name) => required[name] !== imported[name]);
        console.log(JSON.stringify({ names: names.length, more: Object.keys(required).length - names.length, strange }));
      });`;
    // a process of its own: vitest has modules of its own
    const found = JSON.parse(execFileSync(process.execPath, ["-e", program], { encoding: "utf8" }));
    expect(found).toEqual({ names: expect.any(Number), more: 0, strange: [] });
    expect(found.names).toBeGreaterThan(0);
  });

  it("has every declaration that its entries reach, word for word", () => {
    const [dist, cjs] = [at("dist"), at("dist/cjs")];
    const files = reachable(entries.map((one) => at(one.import.types)));
    expect(files.length).toBeGreaterThan(50);
    for (const file of files)
      expect(readFileSync(path.join(cjs, path.relative(dist, file)), "utf8")).toBe(
        readFileSync(file, "utf8"),
      );
  });
});
