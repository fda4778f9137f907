// SPDX-License-Identifier: Apache-2.0
// Programs of pages, compiled by the compiler as a user's would be: against the built package by its name, in strict
// mode. `ai` is the AI SDK whose specification baton-lm/ai-sdk speaks unless told otherwise.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { root } from "../../../scripts/lib/run.mjs";
import type { Program } from "./blocks.js";

/** Inside of the package, because there `baton-lm` is the package itself. */
const homeOf = (name: string) => path.join(root, "build-cmake/docs", name);

export interface Compiled {
  /** What the compiler said, at lines of pages. */
  faults: string[];
  /** The JavaScript of program `index`. */
  fileOf(index: number): string;
}

const options = {
  target: "ES2022",
  lib: ["ES2023", "ESNext.Disposable", "DOM", "DOM.AsyncIterable"],
  types: ["node"],
  typeRoots: [path.join(root, "node_modules/@types")],
  module: "NodeNext",
  moduleResolution: "NodeNext",
  moduleDetection: "force",
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: true,
  rootDir: ".",
  outDir: "out",
};

/** `name`: the folder that it is done in, so that tests do not share one. */
export function compile(name: string, programs: readonly Program[]): Compiled {
  const home = homeOf(name);
  rmSync(home, { recursive: true, force: true });
  mkdirSync(path.join(home, "node_modules"), { recursive: true });
  symlinkSync(path.join(root, "node_modules/ai-7"), path.join(home, "node_modules/ai"), "dir");
  programs.forEach(({ source }, index) => {
    writeFileSync(path.join(home, `program-${index}.ts`), source);
  });
  writeFileSync(
    path.join(home, "tsconfig.json"),
    JSON.stringify({ compilerOptions: options, include: ["program-*.ts"] }),
  );
  const tsc = path.join(root, "node_modules/typescript/bin/tsc");
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [tsc, "--project", home, "--pretty", "false"],
    { cwd: home, encoding: "utf8" },
  );
  const faults = `${stdout}${stderr}`.split("\n").flatMap((line) => {
    const [, index, at, says] = /program-(\d+)\.ts\((\d+),\d+\): (.*)$/.exec(line) ?? [];
    const program = programs[Number(index)];
    if (program !== undefined) return [`${program.page}:${program.lines[Number(at) - 1]}: ${says}`];
    return /^\s*$/.test(line) ? [] : [line];
  });
  if (status !== 0 && faults.length === 0) faults.push(`the compiler ended with ${status}`);
  const fileOf = (index: number) => path.join(home, "out", `program-${index}.js`);
  const lost = programs.findIndex((_, index) => !existsSync(fileOf(index)));
  if (lost >= 0 && faults.length === 0) faults.push(`${programs[lost]?.page}: it gave no program`);
  return { faults, fileOf };
}
