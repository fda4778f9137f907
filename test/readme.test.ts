// SPDX-License-Identifier: Apache-2.0
// The README's first screen is true: its program runs as it stands there, on the real model, and its two pictures are
// what explain() draws of the program's chain. BATON_UPDATE_README=1 draws them anew.

import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { generateText } from "ai-7";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createBaton } from "../src/ai-sdk/index.js";
import * as baton from "../src/index.js";

const pathOf = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const readme = readFileSync(pathOf("README.md"), "utf8");

/** The first block behind `heading`. */
function blockOf(language: string, heading = "# "): string {
  const text = readme.slice(readme.indexOf(heading));
  const found = new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\n\`\`\``).exec(text);
  if (found === null) throw new Error(`README.md has no block in ${language}`);
  return found[1] as string;
}

interface Program {
  chain: baton.Chain<string, string, string, string>;
  inputs: Record<string, string>;
  /** All that it wrote. */
  written: string;
}

let program: Program;
let close = async () => {};

/** Runs the program with the package handed in; its model stays open for the pictures. */
async function runProgram(): Promise<Program> {
  const importLine = 'import { defineChain, loadModel } from "baton-lm";\n';
  const source = blockOf("ts");
  expect(source).toContain(importLine);
  const body = source.replace(importLine, "");
  const main = new Function(
    "defineChain, loadModel, console",
    `return (async () => { ${body}\n return { chain, inputs: { question, passages } }; })();`,
  );
  const loadModel = async (name: string) => {
    const model = await baton.loadModel(name);
    close = model.close.bind(model);
    return Object.assign(model, { close: async () => {} });
  };
  let written = "";
  const keep = (text: unknown) => {
    written += String(text);
    return true;
  };
  const write = vi.spyOn(process.stdout, "write").mockImplementation(keep);
  try {
    return { ...(await main(baton.defineChain, loadModel, { log: keep })), written };
  } finally {
    write.mockRestore();
  }
}

beforeAll(async () => {
  program = await runProgram();
}, 300_000);

afterAll(() => close());

test("the program of the first screen runs, writes both outputs and counts what it reused", () => {
  const [outputs, reused, computed] =
    /^([\s\S]*)\n(\d+) rows reused, (\d+) computed$/.exec(program.written)?.slice(1) ?? [];
  expect(outputs?.length).toBeGreaterThan(20);
  expect(Number(reused)).toBeGreaterThan(Number(computed));
});

test("its pictures are those of its chain", async () => {
  const explanation = await program.chain.explain(program.inputs);
  const [svg, mermaid] = [explanation.draw("svg"), explanation.draw("mermaid")];
  if (process.env.BATON_UPDATE_README === "1") {
    writeFileSync(pathOf("docs/mask.svg"), svg);
    writeFileSync(
      pathOf("README.md"),
      readme.replace(/```mermaid\n[^`]*```/, `\`\`\`mermaid\n${mermaid}\n\`\`\``),
    );
    return;
  }
  expect(blockOf("mermaid")).toBe(mermaid);
  expect(readFileSync(pathOf("docs/mask.svg"), "utf8")).toBe(svg);
});

test("its program of sessions runs, and a second time finds what the first one left", async () => {
  const folder = await mkdtemp(join(tmpdir(), "baton-readme-"));
  const source = blockOf("ts", "## Sessions and snapshots").replace('"."', JSON.stringify(folder));
  expect(source).toContain(folder);
  const main = new Function("model, console", `return (async () => { ${source}\n return trunk; })();`);
  const { model } = program.chain.definition;
  const written: unknown[] = [];
  try {
    for (const turn of [0, 1]) {
      const trunk = (await main(model, { log: (texts: unknown) => written.push(texts) })) as baton.Session;
      expect(trunk.restored === null).toBe(turn === 0);
      trunk.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  expect(written[0]).toEqual([expect.any(String), expect.any(String)]);
  expect(written[1]).toEqual(written[0]);
});

test("its program of AI SDK runs, its second turn reads the first one, and the chain answers", async () => {
  const imports =
    'import { generateText, type ModelMessage } from "ai";\nimport { createBaton } from "baton-lm/ai-sdk";\n';
  const source = blockOf("ts", "## In the AI SDK");
  expect(source).toContain(imports);
  const body = source.replace(imports, "").replace(": ModelMessage[]", "");
  const { model } = program.chain.definition;
  const { chain } = program;
  const written: unknown[][] = [];
  const names = "generateText, createBaton, model, chain, question, passages, console";
  const main = new Function(names, `return (async () => { ${body} })();`);
  const { question, passages } = program.inputs;
  const log = (...values: unknown[]) => written.push(values);
  await main(generateText, createBaton, model, chain, question, passages, { log });
  const [[answer, read] = [], [text] = []] = written;
  expect([typeof answer, typeof text]).toEqual(["string", "string"]);
  const first = model.template().encode([{ role: "user", content: "Name a lighthouse." }]).length;
  expect(read).toBeGreaterThanOrEqual(first);
  (await model.session({ id: "ada" })).close();
});
