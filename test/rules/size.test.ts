// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { blank } from "./support/blank.js";
import { functionsOf } from "./support/functions.js";
import { codeFiles, languageOf, lineCount, textOf } from "./support/tree.js";

const fileLimit = 400;
const functionLimit = 60;
const kernelLimit = 120;

const body = (lines: number): string => "  x += 1;\n".repeat(lines);
const longest = (text: string, language: "cpp" | "ts"): number =>
  Math.max(0, ...functionsOf(text, language).map(({ lines }) => lines));

describe("size", () => {
  it(`no file has more than ${fileLimit} lines`, () => {
    const files = codeFiles();
    expect(files.length).toBeGreaterThan(50);
    const sizes = files.map((file) => ({ file, lines: lineCount(textOf(file)) }));
    expect(sizes.filter(({ lines }) => lines > fileLimit)).toEqual([]);
  });

  it(`no function has more than ${functionLimit} lines, no kernel more than ${kernelLimit}`, () => {
    let functions = 0;
    const tooLong = codeFiles().flatMap((file) => {
      const limit = /^native\/(?:kernels|cuda)\//.test(file) ? kernelLimit : functionLimit;
      const all = functionsOf(textOf(file), languageOf(file));
      functions += all.length;
      return all
        .filter(({ lines }) => lines > limit)
        .map(({ name, line, lines }) => `${file}:${line}: ${lines} lines: ${name}`);
    });
    expect(functions).toBeGreaterThan(200);
    expect(tooLong).toEqual([]);
  });
});

describe("the checker of function length sees long functions", () => {
  const cases: [string, "cpp" | "ts", string][] = [
    ["a C++ function", "cpp", `int f(int a,\n      int b) {\n${body(70)}}\n`],
    [
      "a const method in a class in a namespace",
      "cpp",
      `namespace a {\nclass B {\n int f() const {\n${body(70)}}\n};\n}\n`,
    ],
    ["a constructor with initialisers", "cpp", `B::B(int a) : a_(a), b_{a}, c_{} {\n${body(70)}}\n`],
    ["a lambda in a call", "cpp", `static const int x = run([&](int a) {\n${body(70)}});\n`],
    ["a trailing return type", "cpp", `auto f(int a) -> std::vector<int> {\n${body(70)}}\n`],
    ["a template", "cpp", `template <class T>\nstatic T f(T a) {\n${body(70)}}\n`],
    ["a function behind braces in strings", "cpp", `void f() {\n  g("}}}", '}', R"(}})");\n${body(68)}}\n`],
    ["a struct parameter", "cpp", `void f(struct A a) {\n${body(70)}}\n`],
    ["a TypeScript function", "ts", `export function f(a: { b: number }): void {\n${body(70)}}\n`],
    ["an arrow function", "ts", `const f = (a: number) => {\n${body(70)}};\n`],
    ["a method", "ts", `class A {\n  async f(): Promise<void> {\n${body(70)}  }\n}\n`],
    ["a returned object type", "ts", `function f(): { a: number } {\n${body(70)}}\n`],
    ["a callback inside describe", "ts", `describe("x", () => {\n  it("y", () => {\n${body(70)}  });\n});\n`],
    [
      "code behind templates and regular expressions",
      "ts",
      `function f() {\n  g(\`}\${h({ a: \`}\` })}\`, /[}/]}/, 1 / 2);\n${body(68)}}\n`,
    ],
  ];
  it.each(cases)("%s", (_name, language, text) => {
    expect(longest(text, language)).toBeGreaterThanOrEqual(70);
    expect(longest(text, language)).toBeLessThanOrEqual(72);
  });

  it("and takes types, tables and suites for none", () => {
    const rows = "  {1, 2},\n".repeat(70);
    expect(longest(`struct A {\n${"  int a;\n".repeat(70)}};\n`, "cpp")).toBe(0);
    expect(longest(`constexpr Row kRows[] = {\n${rows}};\n`, "cpp")).toBe(0);
    expect(longest(`const std::vector<Row> rows{\n${rows}};\n`, "cpp")).toBe(0);
    expect(longest(`export const rows = {\n${"  a: [1],\n".repeat(70)}};\n`, "ts")).toBe(0);
    expect(longest(`export interface A {\n${"  a: number;\n".repeat(70)}}\n`, "ts")).toBe(0);
    const suite = `describe("x", () => {\n${'  it("y", () => {\n    x();\n  });\n'.repeat(30)}});\n`;
    expect(longest(suite, "ts")).toBe(3);
  });

  it("refuses braces that do not match", () => {
    expect(() => functionsOf("void f() {", "cpp")).toThrow("without a closing");
    expect(() => functionsOf("}", "ts")).toThrow("without an opening");
  });

  it("hides what is no code and keeps every line", () => {
    const source = "a(); // {\n/* {\n */ b('{', \"{\\\"\");\nint x = 1'000;\n";
    expect(blank(source, "cpp")).toBe("a();     \n    \n    b(   ,      );\nint x = 1'000;\n");
    expect(blank("x = a / b; y = /\\/{/.test(`{$" + "{c}{`);\n", "ts")).not.toContain("{");
  });
});
