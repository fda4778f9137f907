// SPDX-License-Identifier: Apache-2.0
// Two versions of the package in one process, as when two dependencies of a program ask for different ones: each has its
// own addon and its own models, both compute, and errors and models of one are known to the other by their marks.

import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "../../src/native/load.js";
import { tinyPath } from "../chain/tiny-model.js";

const root = packageRoot() as string;
let folder = "";

/** The package as it is, under another version, with a copy of the addon. */
function copyPackage(version: string): string {
  const place = join(folder, version);
  mkdirSync(join(place, "build/Release"), { recursive: true });
  cpSync(join(root, "dist/bundle"), join(place, "dist/bundle"), { recursive: true });
  copyFileSync(join(root, "build/Release/baton.node"), join(place, "build/Release/baton.node"));
  symlinkSync(join(root, "node_modules"), join(place, "node_modules"));
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  writeFileSync(join(place, "package.json"), JSON.stringify({ ...manifest, version }));
  return join(place, "dist/bundle/index.js");
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "baton-versions-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("two versions side by side compute the same, and know each other's errors and models", () => {
  const program = `
    const copies = await Promise.all(${JSON.stringify(["7.0.1", "8.0.2"].map(copyPackage))}.map((file) => import(file)));
    const options = { threads: 1, batchInvariant: true, cacheBytes: 8 << 20 };
    const models = await Promise.all(copies.map(({ loadModel }) => loadModel(${JSON.stringify(tinyPath)}, options)));
    const runs = models.map((model, at) =>
      copies[at].defineChain(model).input("q").stage("a", { maxTokens: 8, closers: ["<|endoftext|>"] }).run({ q: "How long?" }));
    const tokens = (await Promise.all(runs.map((run) => run.result))).map(({ a }) => [...a.tokens]);
    const foreign = copies[1].defineChain(models[0]).input("q").stage("a", { maxTokens: 8, closers: ["<|endoftext|>"] });
    tokens.push([...(await foreign.run({ q: "How long?" }).result).a.tokens]);
    const error = await copies[0].loadModel("./no-such.gguf").catch((one) => one);
    const known = [
      error instanceof copies[1].BatonError,
      copies[1].BatonError.isInstance(error),
      copies[1].SourceFailedError.isInstance(error),
      copies[1].IoError.isInstance(error),
      copies[1].Model.isInstance(models[0]),
    ];
    await Promise.all(models.map((model) => model.close()));
    const addons = process.report.getReport().sharedObjects.filter((one) => one.endsWith("baton.node"));
    console.log(JSON.stringify({ tokens, known, addons: addons.length }));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: folder,
    encoding: "utf8",
  });
  expect(status, stderr).toBe(0);
  const { tokens, known, addons } = JSON.parse(stdout);
  expect(addons).toBe(2);
  expect(known).toEqual([false, true, true, false, true]);
  expect(tokens[0].length).toBeGreaterThan(0);
  expect(tokens).toEqual([tokens[0], tokens[0], tokens[0]]);
});
