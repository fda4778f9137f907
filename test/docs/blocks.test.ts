// SPDX-License-Identifier: Apache-2.0
// Every block of code in the README, in docs/ and beside the examples is what it says it is: programs compile against the
// built package and, unless their page says why not, run on the real model in an empty folder without a word on
// standard error; JSON is JSON, chain documents are chains, and calls of `baton` have options that there are.

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { sourceFiles } from "../../scripts/lib/files.mjs";
import { root } from "../../scripts/lib/run.mjs";
import { parseChainDocument } from "../../src/index.js";
import { loadNative } from "../../src/native/load.js";
import { blocksOf, programsOf } from "./support/blocks.js";
import { wrongCalls } from "./support/calls.js";
import { compile } from "./support/compile.js";

const pages = ["README.md", ...sourceFiles(["docs", "examples", "prompts"], [".md"])];
const texts = await Promise.all(
  pages.map(async (page) => [page, await readFile(path.join(root, page), "utf8")] as const),
);
const programs = texts.flatMap(([page, text]) => programsOf(page, text));
const compiled = compile("pages", programs);
const blocks = texts.flatMap(([page, text]) => blocksOf(text).map((block) => ({ page, ...block })));

const run = promisify(execFile);

describe("programs of pages", () => {
  it("compile", () => {
    expect(programs.length).toBeGreaterThan(5);
    expect(compiled.faults).toEqual([]);
  });

  it("are written in ts, or they would not be seen", () => {
    const others = blocks.filter(({ language }) => /^(js|javascript|typescript|tsx|jsx|mjs)$/.test(language));
    expect(others.map(({ page, line }) => `${page}:${line}`)).toEqual([]);
  });

  const started = programs
    .map((program, index) => ({ ...program, index, name: `${program.page}:${program.line}` }))
    .filter(({ notRun }) => notRun === null);

  it.for(started)("$name runs", { timeout: 300_000 }, async ({ index, grammars }, { skip }) => {
    if (grammars && loadNative().doctor().grammars.length === 0) skip("this build has no grammars");
    expect(compiled.faults).toEqual([]);
    const folder = await mkdtemp(path.join(tmpdir(), "baton-page-"));
    try {
      const { stderr } = await run(process.execPath, [compiled.fileOf(index)], { cwd: folder });
      expect(stderr).toBe("");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("other blocks of pages", () => {
  it("in JSON are JSON, and documents of chains are chains", () => {
    const json = blocks.filter(({ language }) => language === "json" || language === "jsonl");
    expect(json.length).toBeGreaterThan(1);
    for (const { page, line, language, text } of json) {
      const where = `${page}:${line}`;
      for (const one of language === "json" ? [text] : text.split("\n")) {
        const value = JSON.parse(one) as object;
        if ("steps" in value) expect(() => parseChainDocument(value), where).not.toThrow();
      }
    }
  });

  it("call baton with commands and options that there are", () => {
    const calls = blocks.filter(({ language }) => language === "sh");
    expect(calls.length).toBeGreaterThan(5);
    expect(calls.flatMap(({ page, line, text }) => wrongCalls(text, `${page}:${line}`))).toEqual([]);
  });
});

describe("a page that is wrong is found out", () => {
  const page = (code: string) => `# A page\n\nText.\n\n\`\`\`ts\n${code}\n\`\`\`\n`;
  const chain = 'import { defineChain, loadModel } from "baton-lm";\nconst model = await loadModel("m");\n';

  it("at its line, and only where it is wrong", () => {
    const wrong = 'defineChain(model).input("question").stage("answer", { reads: ["questoin"] });';
    const right = wrong.replace("questoin", "question");
    const two = [
      ...programsOf("wrong.md", page(chain + wrong)),
      ...programsOf("right.md", page(chain + right)),
    ];
    expect(compile("faults", two).faults).toEqual([expect.stringMatching(/^wrong\.md:8: .*"questoin"/)]);
  });

  it("its second block goes on from the first one, unless it begins a program", () => {
    const next = (remark: string) =>
      programsOf("x.md", `${page("const a = 1;")}\n${remark}\n\n\`\`\`ts\nconsole.log(a);\n\`\`\`\n`);
    expect(compile("goes-on", next("")).faults).toEqual([]);
    expect(compile("begins", next("<!-- new program -->")).faults).toEqual([
      expect.stringMatching(/^x\.md:12: .*'a'/),
    ]);
    const given = next("<!-- new program --> <!-- given\ndeclare const a: string;\n-->");
    expect(compile("given", given).faults).toEqual([]);
    expect(given.map(({ notRun }) => notRun)).toEqual([null, "it takes something for granted"]);
  });

  it("by a call that baton does not know", () => {
    const call =
      "npx baton serve chain.json \\\n  --modle x\nnpx baton sevre\nnpx baton run a.json --input b=c # yes";
    expect(wrongCalls(call, "x.md:1")).toEqual([
      "x.md:1: baton serve has no --modle",
      "x.md:1: there is no baton sevre",
    ]);
  });
});
