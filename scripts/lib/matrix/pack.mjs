// SPDX-License-Identifier: Apache-2.0
// The packages as they are published, in two versions: that of the checkout and a later one that differs in its number.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { assemblePackages } from "../packages.mjs";
import { platforms } from "../platforms.mjs";
import { npmPack } from "../run.mjs";

const manifestOf = (folder) => JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));

const pack = (folder, target) => ({ manifest: manifestOf(folder), ...npmPack(folder, target) });

/** The version of a package and of what it asks for of ours. */
function renumber(folder, version) {
  const manifest = manifestOf(folder);
  manifest.version = version;
  for (const name of Object.keys(manifest.optionalDependencies ?? {}))
    manifest.optionalDependencies[name] = version;
  writeFileSync(path.join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** Packages of platforms that are not built here: known to the registry by their fields, so that they are passed by, and not there to be had. */
function absent({ manifest: { optionalDependencies = {} } }, packed) {
  return Object.entries(optionalDependencies)
    .filter(([name]) => !packed.some((one) => one.manifest.name === name))
    .map(([name, version]) => {
      const { os, cpu, libc } = platforms.find(({ tag }) => name.endsWith(`/${tag}`));
      return { manifest: { name, version, os: [os], cpu: [cpu], ...(libc && { libc: [libc] }) } };
    });
}

/** @returns {{ base: Packed, next: Packed, platforms: Packed[] }} */
export function packBoth(work) {
  const folders = assemblePackages(path.join(work, "packages"));
  const packed = folders.map((folder) => pack(folder, work));
  const [major, minor, patch] = packed[0].manifest.version.split(".").map(Number);
  for (const folder of folders) renumber(folder, `${major}.${minor}.${patch + 1}`);
  const later = folders.map((folder) => pack(folder, work));
  const [base, next] = [packed[0], later[0]];
  const made = [...packed.slice(1), ...later.slice(1)];
  return { base, next, platforms: [...made, ...absent(base, made), ...absent(next, made)] };
}
