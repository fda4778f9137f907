// SPDX-License-Identifier: Apache-2.0
// What chains cost the compiler, counted by itself: instantiations grow with the names declared, never with their
// combinations. The bounds are about twice what was counted when they were set.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..", "..");

/** Instantiations for a program, errors are failures. */
function instantiations(program: string): number {
  const folder = mkdtempSync(join(root, "test", "types", ".counted-"));
  try {
    writeFileSync(join(folder, "program.ts"), program);
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        extends: "../../../tsconfig.json",
        compilerOptions: { noEmit: true, types: ["node"], incremental: false },
        include: ["./program.ts"],
      }),
    );
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
    const report = execFileSync(
      process.execPath,
      [tsc, "-p", folder, "--extendedDiagnostics", "--singleThreaded"],
      {
        encoding: "utf8",
      },
    );
    return Number(/^Instantiations:\s+(\d+)/m.exec(report)?.[1]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const head = `
import type { Model } from "../../../src/index.js";
import { defineChain } from "../../../src/index.js";
declare const model: Model;
export const chain = defineChain(model).input("question").input("passages")
`;

/** Stages that read by name what came before, with a function between every two of them. */
const stages = (count: number) =>
  Array.from({ length: count }, (_, at) => {
    const before = at === 0 ? `"question"` : `"question", "s${at - 1}"`;
    const from = at === 0 ? "question.text" : `s${at - 1}.text`;
    const results = at === 0 ? "{ question }" : `{ s${at - 1} }`;
    return `  .input("i${at}", { from: (${results}) => ${from} })
  .stage("s${at}", { reads: [${before}, "i${at}"] })`;
  }).join("\n");

const groups = (count: number) =>
  Array.from(
    { length: count },
    (_, at) => `
  .rounds("r${at}", (r) => r.stage("x").stage("y", { reads: ["x", "question"] }), { max: 3, until: ({ y }) => y.text === "" })
  .when("w${at}", ({ r${at} }) => r${at}.rounds.length > 1, (w) => w.stage("x", { reads: ["r${at}"] }))
  .fanOut("f${at}", { samples: 4 }, (f) => f.stage("x", { reads: ["question"] }))
  .join("j${at}", { reads: ["f${at}"] })`,
  ).join("\n");

const end = (last: string) => `;
export const result = chain.run({ question: "", passages: "" }).result.then((all) => all.${last}.text);
`;

test("a chain of 40 stages and 40 computed inputs", () => {
  const base = instantiations(`${head}${stages(1)}${end("s0")}`);
  const long = instantiations(`${head}${stages(40)}${end("s39")}`);
  expect(base).toBeGreaterThan(100); // the report was read
  expect(long - base).toBeLessThan(35_000);
}, 120_000);

test("10 times rounds, a condition, a fan-out and a join: 50 stages", () => {
  const base = instantiations(`${head}${groups(1)}${end("j0")}`);
  const long = instantiations(`${head}${groups(10)}${end("j9")}`);
  expect(long - base).toBeLessThan(35_000);
}, 120_000);

/** The same inside of rounds, where every function also sees the rounds before by name. */
const inRounds = (count: number) => `
  .rounds("talk", (round) => round${Array.from({ length: count }, (_, at) => {
    const last =
      at === 0 ? `question.text + talk.rounds.length` : `talk.rounds[0]?.s${at - 1}.text ?? question.text`;
    return `
    .input("i${at}", { from: ({ question, talk }) => ${last} })
    .stage("s${at}", { own: ["i${at}"], reads: ["question", "talk"] })`;
  }).join("")}, { max: 3, until: ({ talk }) => talk.rounds.length > 2 })
  .stage("end")`;

test("rounds of 40 stages and 40 computed inputs", () => {
  const base = instantiations(`${head}${inRounds(1)}${end("end")}`);
  const long = instantiations(`${head}${inRounds(40)}${end("end")}`);
  expect(long - base).toBeLessThan(20_000);
}, 120_000);
