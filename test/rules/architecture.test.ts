// SPDX-License-Identifier: Apache-2.0
// ARCHITECTURE.md names every folder and file of native/ and src/, and nothing that is not there; CONTRIBUTING.md shows
// a family as it is.
import path from "node:path";
import { describe, expect, it } from "vitest";
import { codeFiles, textOf } from "./support/tree.js";

/** Folder -> the names in its entry of the section "Files". */
function entries(text: string): Map<string, string[]> {
  const [, section = ""] = /^## Files$([\s\S]*?)^## /m.exec(text) ?? [];
  const found = section.split(/^- /m).slice(1);
  return new Map(
    found.map((entry) => {
      const [folder = "", ...names] = [...entry.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "");
      return [folder, names];
    }),
  );
}

const stemOf = (file: string) => path.posix.basename(file).replace(/\..*$/, "");

/** `q*` stands for all that begins so, but for a name that stands there by itself. */
const stands = (name: string) => new RegExp(`^${name.replaceAll("*", "\\w+")}$`);

/** What the entries lack, and what they have too much. */
function faults(text: string, files: readonly string[]): string[] {
  const listed = entries(text);
  const folders = new Map<string, Set<string>>();
  for (const file of files) {
    const folder = path.posix.dirname(file);
    folders.set(folder, (folders.get(folder) ?? new Set()).add(stemOf(file)));
  }
  const missing = [...folders].flatMap(([folder, stems]) => {
    const names = listed.get(folder);
    if (names === undefined) return [`no entry for ${folder}`];
    return [...stems]
      .filter((stem) => !names.some((name) => stands(name).test(stem)))
      .map((stem) => `${folder}: no ${stem}`);
  });
  const extra = [...listed].flatMap(([folder, names]) =>
    names
      .filter((name) => ![...(folders.get(folder) ?? [])].some((stem) => stands(name).test(stem)))
      .map((name) => `${folder}: ${name} is not there`),
  );
  return [...missing, ...extra];
}

describe("ARCHITECTURE.md", () => {
  const files = codeFiles(["native", "src"]);

  it("names every file of native/ and src/ in its section Files, and no other", () => {
    expect(files.length).toBeGreaterThan(200);
    expect(faults(textOf("ARCHITECTURE.md"), files)).toEqual([]);
  });

  it("would be found lacking", () => {
    const text = "## Files\n\n- `src/a`: `one` (first); `t*`, `gone`.\n\n## Next\n";
    expect(
      faults(text, ["src/a/one.ts", "src/a/two.h", "src/a/two.cpp", "src/a/four.ts", "src/b/x.ts"]),
    ).toEqual(["src/a: no four", "no entry for src/b", "src/a: gone is not there"]);
  });
});

describe("CONTRIBUTING.md", () => {
  it("shows all of a family, as it stands in its file", () => {
    const [, shown = ""] =
      /All of `qwen3\.cpp`:\s+```cpp\n([\s\S]*?)```/.exec(textOf("CONTRIBUTING.md")) ?? [];
    const code = textOf("native/model/families/qwen3.cpp")
      .split("\n")
      .filter((line) => !/^(\/\/|#include|namespace|})/.test(line) || line.startsWith("};"));
    const dense = (text: string) => text.replace(/\s+/g, " ").trim();
    expect(shown.length).toBeGreaterThan(200);
    expect(dense(shown)).toBe(dense(code.join("\n")));
  });
});
