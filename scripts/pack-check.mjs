// SPDX-License-Identifier: Apache-2.0
// The packages as a user gets them: assembled, packed, installed into an empty folder with --ignore-scripts and no
// compiler on PATH, and run there on a tiny model. Then the two other ways an installation can go: without the
// platform package (an error that lists what was tried) and compiled from the shipped sources.
//
//   pack-check.mjs [--no-compile] [--keep]
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { ensureBuilt } from "./lib/ensure.mjs";
import { assemblePackages, filesBelow, glibcCeiling } from "./lib/packages.mjs";
import { entry, npmCommand, quietly, root, Stop, say } from "./lib/run.mjs";
import { glibcFloor, makePrebuilds } from "./prebuilds.mjs";

const forbidden = ["cmake", "c++", "g++", "gcc", "cc", "clang", "clang++", "make", "ninja", "node-gyp"];
const mostBaseBytes = 2 * 1024 * 1024;
const model = path.join(root, "test/fixtures/tiny-llama/tiny-q4_1.gguf");

function must(condition, message) {
  if (!condition) throw new Stop(message);
}

/** A PATH with node, npm and what npm itself calls, so that nothing could be compiled even if something tried. */
function poorPath(folder) {
  mkdirSync(folder);
  const wanted = ["node", "npm", "npx", "sh", "env", "uname", "which"];
  for (const name of wanted) {
    const place = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
    if (place) symlinkSync(name === "node" ? process.execPath : place, path.join(folder, name));
  }
  const found = forbidden.filter((name) => readdirSync(folder).includes(name));
  must(found.length === 0, `the poor PATH has ${found.join(", ")}`);
  return folder;
}

const isBase = (folder) => path.basename(folder) === "baton-lm";

function checkContents(folder) {
  const manifest = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
  const files = filesBelow(folder);
  must(!manifest.scripts, `${manifest.name} has scripts: nothing may run at installation`);
  must(!files.some((file) => path.basename(file) === "binding.gyp"), `${manifest.name} has a binding.gyp`);
  const strange = files.filter((file) => /(^|\/)(node_modules|test|build|\.git)\//.test(file));
  must(
    strange.length === 0,
    `${manifest.name} has files that do not belong there: ${strange.slice(0, 5).join(", ")}`,
  );
  if (isBase(folder)) {
    const prompts = files.filter((file) => path.basename(file) === "adapter_model.safetensors");
    must(prompts.length > 0, `${manifest.name} ships no prompt`);
    const records = files.filter((file) => path.basename(file) === "checkpoint.safetensors");
    must(records.length === 0, `${manifest.name} has ${records.join(", ")}, which belongs to a training`);
  }
  return manifest.name;
}

function pack(folder, target) {
  const [npm, ...args] = npmCommand();
  const output = quietly(npm, [...args, "pack", "--json", "--pack-destination", target, folder]);
  const [{ filename, size, unpackedSize }] = JSON.parse(output.slice(output.indexOf("[")));
  must(!isBase(folder) || size <= mostBaseBytes, `${filename} has ${size} bytes, more than ${mostBaseBytes}`);
  const file = path.join(target, filename.replace(/^@/, "").replace("/", "-"));
  say(
    `${path.basename(file)}: ${(size / 1024).toFixed(0)} KB packed, ${(unpackedSize / 1024).toFixed(0)} KB installed`,
  );
  return file;
}

function installInto(folder, tarballs, env) {
  mkdirSync(folder);
  writeFileSync(
    path.join(folder, "package.json"),
    '{ "name": "user-of-baton", "private": true, "type": "module" }\n',
  );
  const [npm, ...args] = npmCommand();
  const options = ["install", "--ignore-scripts", "--no-audit", "--no-fund", ...tarballs];
  quietly(npm, [...args, ...options], { cwd: folder, env });
}

function smoke(folder, env) {
  copyFileSync(path.join(root, "scripts/smoke/installed-chain.mjs"), path.join(folder, "smoke.mjs"));
  const done = spawnSync(process.execPath, ["smoke.mjs", model], { cwd: folder, env, encoding: "utf8" });
  return { code: done.status, text: done.stdout + done.stderr };
}

function runInstalled(folder, env) {
  const { code, text } = smoke(folder, env);
  must(code === 0, `the installed package did not run its chain (exit ${code}):\n${text}`);
  say(text.trim());
  const bin = path.join(folder, "node_modules/.bin/baton");
  quietly(bin, ["doctor", "--json"], { cwd: folder, env });
  quietly(bin, ["inspect", model, "--json"], { cwd: folder, env });
  say("`baton doctor` and `baton inspect` ran from the installed package");
}

function checkWithoutPlatformPackage(folder, env) {
  const [there, aside] = [path.join(folder, "node_modules/@baton-lm"), path.join(folder, "aside")];
  renameSync(there, aside);
  const { code, text } = smoke(folder, env);
  must(
    code !== 0 && text.includes("NATIVE_LOAD") && text.includes("npx baton build"),
    `without a binary:\n${text}`,
  );
  say("without the platform package the error lists what was tried and the remedy");
}

/** Needs a compiler, so it runs with the caller's PATH. The platform package is still set aside. */
function compileInstalled(folder) {
  quietly(path.join(folder, "node_modules/.bin/baton"), ["build"], { cwd: folder });
  const { code, text } = smoke(folder, process.env);
  must(code === 0, `after \`npx baton build\` (exit ${code}):\n${text}`);
  say("`npx baton build` compiled the shipped sources, and the chain ran on them");
}

/** Says size and glibc floor of each binary. A floor above the ceiling fails where releases are made, and is said elsewhere. */
function checkBinaries(folder) {
  for (const file of readdirSync(folder)) {
    const place = path.join(folder, file);
    const size = `${path.relative(root, place)}: ${(statSync(place).size / 1024).toFixed(0)} KB`;
    if (process.platform !== "linux") {
      say(size);
      continue;
    }
    const floor = glibcFloor(place);
    say(`${size}, needs glibc ${floor.join(".")}`);
    const [major, minor] = glibcCeiling;
    if (floor[0] === major && floor[1] <= minor) continue;
    const message = `${file} needs glibc ${floor.join(".")}, published binaries ${major}.${minor} at most: build on Debian 12`;
    must(!process.env.CI, message);
    say(message);
  }
}

async function check(work, compile) {
  await ensureBuilt();
  const prebuilds = makePrebuilds();
  checkBinaries(prebuilds);
  const folders = assemblePackages(path.join(work, "packages"));
  for (const folder of folders) checkContents(folder);
  const tarballs = folders.map((folder) => pack(folder, work));
  const env = { ...process.env, PATH: poorPath(path.join(work, "bin")), BATON_ADDON: "" };
  const folder = path.join(work, "user");
  installInto(folder, tarballs, env);
  runInstalled(folder, env);
  checkWithoutPlatformPackage(folder, env);
  if (compile) compileInstalled(folder);
}

await entry(async () => {
  const options = { "no-compile": { type: "boolean" }, keep: { type: "boolean" } };
  const { values } = parseArgs({ options });
  const work = mkdtempSync(path.join(os.tmpdir(), "baton-pack-"));
  try {
    await check(work, !values["no-compile"]);
    say("the packed packages work as installed");
  } finally {
    if (values.keep) say(`kept ${work}`);
    else rmSync(work, { recursive: true });
  }
});
