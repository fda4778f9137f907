// SPDX-License-Identifier: Apache-2.0
// The published packages, assembled from the checkout into folders of their own: the base package (JavaScript, types
// and the native sources for `npx baton build`), one package per platform that holds the binary alone, and one with the
// CUDA library beside it. None has an install script or a binding.gyp.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { dualEntries, reachable } from "./cjs.mjs";
import { cudaPackage, hostPlatform, platforms } from "./platforms.mjs";
import { root, Stop } from "./run.mjs";

const keptFields = ["name", "version", "description", "license", "type", "engines", "keywords", "repository"];
const entryFields = [
  ...["exports", "main", "types", "typesVersions", "bin", "binary"],
  ...["dependencies", "peerDependencies", "peerDependenciesMeta"],
];

/** Highest glibc that what this machine's own compiler links may ask for: Debian 12, Ubuntu 22.04 and RHEL 9 have it. */
export const glibcCeiling = [2, 34];

/** What the base package consists of: scripts are those that compile the sources when asked. */
const baseContents = [
  "bin",
  "dist",
  "prompts",
  "schema",
  "scripts/build-native.mjs",
  "scripts/lib/run.mjs",
  "scripts/lib/tools.mjs",
  "LICENSE",
  "THIRD_PARTY.md",
  "README.md",
  "CHANGELOG.md",
];

/** What the compiler makes of src/ one by one: of it the types are published, and in place of the rest the bundle and what require() gets. */
const single = /^dist\/(?!bundle\/|cjs\/).*\.js$/;

/** The native sources as one file, which `npx baton build` unpacks: a quarter of their bytes, and few have a use for them. */
export const sourceArchive = "native.tar.gz";
const archived = ["native", "CMakeLists.txt"];

function archiveSources(folder) {
  const steady = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
  const tar = spawnSync("tar", [...steady, "-cf", "-", ...archived], { cwd: root, maxBuffer: 256 << 20 });
  if (tar.error || tar.status !== 0)
    throw new Stop(`GNU tar could not pack the native sources: ${tar.error?.message ?? tar.stderr}`);
  writeFileSync(path.join(folder, sourceArchive), gzipSync(tar.stdout, { level: 9 }));
}

/** Declarations that no entry reaches are nobody's types. */
function unreachedTypes() {
  const entries = dualEntries(manifest()).map((entry) => path.join(root, entry.import.types));
  const reached = new Set(reachable(entries));
  const types = (file) => /\bdist\/(?!cjs\/).*\.d\.ts$/.test(path.relative(root, file));
  return (file) => types(file) && !reached.has(file);
}

/** Of a training, what only tells how it went. */
const trainingRecords = ["checkpoint.safetensors", "curves.svg", "steps.jsonl"];

const manifest = () => JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
const pick = (from, names) =>
  Object.fromEntries(names.flatMap((name) => (name in from ? [[name, from[name]]] : [])));
const packageName = (base, tag) => `@${base}/${tag}`;

function write(folder, fields) {
  writeFileSync(path.join(folder, "package.json"), `${JSON.stringify(fields, null, 2)}\n`);
}

/** The base package alone, which needs no binary. `folder` must not be there yet. */
export function assembleBase(folder, source = manifest()) {
  mkdirSync(folder, { recursive: true });
  archiveSources(folder);
  const isUnreached = unreachedTypes();
  for (const item of baseContents) {
    const belongs = (file) =>
      !file.endsWith(".tsbuildinfo") &&
      !trainingRecords.includes(path.basename(file)) &&
      !single.test(path.relative(root, file)) &&
      !isUnreached(file);
    cpSync(path.join(root, item), path.join(folder, item), { recursive: true, filter: belongs });
  }
  const optional = platforms.map(({ tag }) => [packageName(source.name, tag), source.version]);
  write(folder, {
    ...pick(source, [...keptFields, ...entryFields]),
    optionalDependencies: Object.fromEntries(optional),
    files: [...baseContents, sourceArchive],
  });
}

function copyBinary(from, to, remedy) {
  try {
    cpSync(from, to);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
    throw new Stop(`${path.relative(root, from)} is missing: run \`${remedy}\` first.`);
  }
}

function assembleBinaries(folder, source, platform, { tag, what, libraries = [] }) {
  mkdirSync(folder, { recursive: true });
  const binary = path.join(root, "prebuilds", platform.folder, platform.file);
  copyBinary(binary, path.join(folder, "baton.node"), `npm run prebuilds -- --only ${platform.tag}`);
  for (const library of libraries) {
    copyBinary(path.join(root, library), path.join(folder, path.basename(library)), "npm run cuda:build");
  }
  for (const text of ["LICENSE", "THIRD_PARTY.md"]) cpSync(path.join(root, text), path.join(folder, text));
  const name = packageName(source.name, tag);
  const description = `${what} of ${source.name} for ${platform.tag}`;
  writeFileSync(path.join(folder, "README.md"), `# ${name}\n\n${description}. See ${source.name}.\n`);
  const { os, cpu, libc } = platform;
  write(folder, {
    name,
    ...pick(source, ["version", "license", "repository"]),
    description,
    ...pick(source, ["engines"]),
    main: "baton.node",
    files: ["baton.node", ...libraries.map((library) => path.basename(library)), "THIRD_PARTY.md"],
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
  });
}

/**
 * @param {string} folder emptied first
 * @param {{ tags?: string[], cuda?: boolean }} wanted platforms whose binary is there; default: the one that this runs on
 * @returns {string[]} one folder per package, named by its tag; the base package first
 */
export function assemblePackages(folder, { tags = [hostPlatform()?.tag], cuda = false } = {}) {
  rmSync(folder, { recursive: true, force: true });
  const source = manifest();
  const folders = [path.join(folder, source.name)];
  assembleBase(folders[0], source);
  for (const platform of platforms.filter(({ tag }) => tags.includes(tag))) {
    const { tag } = platform;
    folders.push(path.join(folder, tag));
    assembleBinaries(folders.at(-1), source, platform, { tag, what: "Compiled part" });
  }
  if (cuda) {
    const { tag, of, library } = cudaPackage;
    const platform = platforms.find((one) => one.tag === of);
    folders.push(path.join(folder, tag));
    const what = "Compiled part with the CUDA library";
    assembleBinaries(folders.at(-1), source, platform, { tag, what, libraries: [library] });
  }
  return folders;
}

/** Every file of a folder, relative to it. */
export function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile())
    .map((item) => path.relative(folder, path.join(item.parentPath ?? item.path, item.name)));
}
