// SPDX-License-Identifier: Apache-2.0
// The list of platforms, and what else must say the same: the loader's names, the base package, the page for users.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { assembleBase } from "../../scripts/lib/packages.mjs";
import { cudaPackage, glibcFloorWanted, hostPlatform, platforms } from "../../scripts/lib/platforms.mjs";
import { platformTag } from "../../src/native/load.js";

const work = mkdtempSync(path.join(tmpdir(), "baton-platforms-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

test("every platform has the name that the loader asks for on it, and a file of its own", () => {
  const suffix: Record<string, string> = { glibc: "-gnu", musl: "-musl" };
  for (const { tag, os, cpu, libc } of platforms) {
    expect(tag).toBe(`${os}-${cpu}${libc === undefined ? "" : suffix[libc]}`);
  }
  expect(new Set(platforms.map(({ folder, file }) => `${folder}/${file}`)).size).toBe(platforms.length);
  expect(platforms.some(({ tag }) => tag === cudaPackage.of)).toBe(true);
  if (platforms.some(({ tag }) => tag === platformTag())) expect(hostPlatform()?.tag).toBe(platformTag());
});

test("what is built for glibc elsewhere is built for the one that is promised", () => {
  const targets = platforms.filter(({ cross, libc }) => cross && libc === "glibc");
  expect(targets.length).toBeGreaterThan(0);
  for (const { cross } of targets)
    expect(cross?.target.endsWith(`-gnu.${glibcFloorWanted.join(".")}`)).toBe(true);
});

test("the base package asks for every platform's package of exactly its version, and the page names them", () => {
  const folder = path.join(work, "base");
  assembleBase(folder);
  const manifest = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
  const wanted = platforms.map(({ tag }) => [`@baton-lm/${tag}`, manifest.version]);
  expect(manifest.optionalDependencies).toEqual(Object.fromEntries(wanted));
  const page = readFileSync(path.resolve("docs/platforms.md"), "utf8");
  for (const tag of [...platforms.map((one) => one.tag), cudaPackage.tag]) {
    expect(page).toContain(`\`@baton-lm/${tag}\``);
  }
});
