// SPDX-License-Identifier: Apache-2.0
// The packages as a user gets them: assembled, packed, installed into an empty folder with --ignore-scripts and no
// compiler on PATH, and run there on a tiny model. Then the two other ways an installation can go: without the
// platform package (an error that lists what was tried) and compiled from the shipped sources. The package with the CUDA
// library is checked where `npm run cuda:build` has made one; --cross builds those for other machines, and runs them
// under an emulator.
//
//   pack-check.mjs [--cross] [--prebuilt] [--no-compile] [--keep]     --prebuilt: prebuilds/ as it is, nothing is built
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
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
import { nodeArm64, zigIsHere } from "./lib/cross-tools.mjs";
import { ensureBuilt, ensureModules, ensureTypeScript } from "./lib/ensure.mjs";
import { assemblePackages, filesBelow, glibcCeiling } from "./lib/packages.mjs";
import { cudaPackage, glibcFloorWanted, hostPlatform, platforms } from "./lib/platforms.mjs";
import { entry, npmCommand, npmPack, quietly, root, Stop, say } from "./lib/run.mjs";
import { glibcFloor, makeForeignPrebuilds, makePrebuilds, prebuilt } from "./prebuilds.mjs";

const forbidden = ["cmake", "c++", "g++", "gcc", "cc", "clang", "clang++", "make", "ninja", "node-gyp"];
/** Of the base package packed, of the others installed. */
const mostBytes = { base: 2_000_000, platform: 6_000_000, cuda: 25_000_000 };
/** What stands for Node on another machine. */
const foreignNodes = { "linux-arm64-gnu": nodeArm64 };
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

function kindOf(folder) {
  if (isBase(folder)) return "base";
  return path.basename(folder) === cudaPackage.tag ? "cuda" : "platform";
}

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
  const { tarball, packedBytes, unpackedBytes } = npmPack(folder, target);
  const name = path.basename(tarball);
  const kind = kindOf(folder);
  const [bytes, most] = [kind === "base" ? packedBytes : unpackedBytes, mostBytes[kind]];
  must(bytes <= most, `${name} has ${bytes} bytes, more than ${most}`);
  say(
    `${name}: ${(packedBytes / 1024).toFixed(0)} KB packed, ${(unpackedBytes / 1024).toFixed(0)} KB installed`,
  );
  return tarball;
}

function installInto(folder, tarballs, env, flags = []) {
  mkdirSync(folder);
  writeFileSync(
    path.join(folder, "package.json"),
    '{ "name": "user-of-baton", "private": true, "type": "module" }\n',
  );
  const [npm, ...args] = npmCommand();
  const options = ["install", "--ignore-scripts", "--no-audit", "--no-fund", ...flags, ...tarballs];
  quietly(npm, [...args, ...options], { cwd: folder, env });
}

const thisNode = [process.execPath];

function run(node, args, folder, env) {
  const done = spawnSync(node[0], [...node.slice(1), ...args], { cwd: folder, env, encoding: "utf8" });
  if (done.error) throw new Stop(`cannot start ${node[0]}: ${done.error.message}`);
  return { code: done.status, text: done.stdout + done.stderr, stdout: done.stdout };
}

function smoke(folder, env, node = thisNode) {
  copyFileSync(path.join(root, "scripts/smoke/installed-chain.mjs"), path.join(folder, "smoke.mjs"));
  return run(node, ["smoke.mjs", model], folder, env);
}

/** The chain, then what the addon says of itself: it compares every kernel with its reference. */
function runInstalled(folder, env, node = thisNode) {
  const { code, text } = smoke(folder, env, node);
  must(code === 0, `the installed package did not run its chain (exit ${code}):\n${text}`);
  say(text.trim());
  const program = path.join(folder, "node_modules/baton-lm/bin/baton.cjs");
  const doctor = run(node, [program, "doctor", "--json"], folder, env);
  must(doctor.code === 0, `\`baton doctor\` failed (exit ${doctor.code}):\n${doctor.text}`);
  const { kernels, isa, grammars } = JSON.parse(doctor.stdout);
  const wrong = kernels.filter(({ ok }) => !ok).map(({ op }) => op);
  must(kernels.length > 0 && wrong.length === 0, `kernels differ from their reference: ${wrong.join(", ")}`);
  const inspect = run(node, [program, "inspect", model, "--json"], folder, env);
  must(inspect.code === 0, `\`baton inspect\` failed (exit ${inspect.code}):\n${inspect.text}`);
  const facts = `${kernels.length} kernels on ${isa}, grammars: ${grammars.join(", ") || "none"}`;
  say(`\`baton doctor\` (${facts}) and \`baton inspect\` ran from the installed package`);
}

function checkWithoutPlatformPackage(folder, env, tag, node = thisNode) {
  const [there, aside] = [path.join(folder, "node_modules/@baton-lm"), path.join(folder, "aside")];
  renameSync(there, aside);
  const { code, text } = smoke(folder, env, node);
  const said = [
    "NATIVE_LOAD",
    `@baton-lm/${tag}`,
    `npm install --no-save @baton-lm/${tag}@`,
    "npx baton build",
  ];
  const unsaid = said.filter((words) => !text.includes(words));
  must(code !== 0 && unsaid.length === 0, `without a binary ${unsaid.join(", ")} is not said:\n${text}`);
  say(`${tag}: without the platform package the error lists what was tried and the remedy`);
}

/** Another machine's package in a folder of its own, run by what stands for that machine. */
function checkForeign(platform, work, tarballs, env) {
  const { tag } = platform;
  const folder = path.join(work, `user-${tag}`);
  installInto(folder, tarballs, env, ["--force"]); // npm sees this machine, which the package is not for
  const makeNode = foreignNodes[tag];
  if (!makeNode) return say(`${tag}: installed; nothing here runs it`);
  const node = makeNode();
  const { stdout } = run(
    node,
    ["-p", "'Node ' + process.versions.node + ' on ' + process.arch"],
    folder,
    env,
  );
  say(`${tag}: ${stdout.trim()}`);
  runInstalled(folder, env, node);
  checkWithoutPlatformPackage(folder, env, tag, node);
}

/** Beside the platform's package, which it takes the place of; whether a GPU computes is for a machine that has one. */
function checkCuda(work, tarballs, env) {
  const folder = path.join(work, "user-cuda");
  installInto(folder, tarballs, env);
  const addon = path.join(folder, `node_modules/@baton-lm/${cudaPackage.tag}/baton.node`);
  renameSync(path.join(folder, `node_modules/@baton-lm/${cudaPackage.of}`), path.join(folder, "aside"));
  const library = path.join(path.dirname(addon), path.basename(cudaPackage.library));
  const symbols = quietly("nm", ["-D", "--defined-only", library]);
  must(symbols.includes("batonCudaApi"), `${library} has no batonCudaApi`);
  runInstalled(folder, env);
  say(`${cudaPackage.tag}: the addon beside the CUDA library ran, on the CPU`);
}

/** Needs a compiler, so it runs with the caller's PATH. The platform package is still set aside. */
function compileInstalled(folder) {
  quietly(path.join(folder, "node_modules/.bin/baton"), ["build"], { cwd: folder });
  const { code, text } = smoke(folder, process.env);
  must(code === 0, `after \`npx baton build\` (exit ${code}):\n${text}`);
  say("`npx baton build` compiled the shipped sources, and the chain ran on them");
}

/** Says size and glibc floor of a binary. A floor above what was promised fails, but where zig could not be had. */
function checkBinary(platform) {
  const file = prebuilt(platform);
  const size = `${path.relative(root, file)}: ${(statSync(file).size / 1024).toFixed(0)} KB`;
  if (platform.libc !== "glibc") return say(size);
  const floor = glibcFloor(file);
  say(`${size}, needs glibc ${floor.join(".")}`);
  const [major, minor] = platform.cross || zigIsHere() ? glibcFloorWanted : glibcCeiling;
  if (floor[0] === major && floor[1] <= minor) return undefined;
  const message = `${file} needs glibc ${floor.join(".")}, published binaries ${major}.${minor} at most`;
  must(!process.env.CI && !zigIsHere(), message);
  return say(message);
}

async function build({ cross, asIs }) {
  if (asIs) {
    await ensureModules();
    await ensureTypeScript();
    return;
  }
  await ensureBuilt();
  makePrebuilds();
  if (cross) makeForeignPrebuilds();
}

async function check(work, { compile, cross, asIs }) {
  await build({ cross, asIs });
  const host = hostPlatform();
  const isMade = (platform) => platform.cross && (!asIs || existsSync(prebuilt(platform)));
  const made = platforms.filter((platform) => platform === host || (cross && isMade(platform)));
  for (const platform of made) checkBinary(platform);
  const cuda = existsSync(path.join(root, cudaPackage.library)) && host.tag === cudaPackage.of;
  const folders = assemblePackages(path.join(work, "packages"), { tags: made.map(({ tag }) => tag), cuda });
  for (const folder of folders) checkContents(folder);
  const tarballs = Object.fromEntries(folders.map((folder) => [path.basename(folder), pack(folder, work)]));
  const [base, own] = [tarballs["baton-lm"], tarballs[host.tag]];
  const env = { ...process.env, PATH: poorPath(path.join(work, "bin")), BATON_ADDON: "" };
  const folder = path.join(work, "user");
  installInto(folder, [base, own], env);
  runInstalled(folder, env);
  checkWithoutPlatformPackage(folder, env, host.tag);
  if (cuda) checkCuda(work, [base, own, tarballs[cudaPackage.tag]], env);
  else say(`left out: ${cudaPackage.tag} (there is no ${cudaPackage.library}: npm run cuda:build)`);
  for (const platform of made) {
    if (platform !== host) checkForeign(platform, work, [base, tarballs[platform.tag]], env);
  }
  if (compile) compileInstalled(folder);
}

await entry(async () => {
  const flag = { type: "boolean" };
  const options = { "no-compile": flag, keep: flag, cross: flag, prebuilt: flag };
  const { values } = parseArgs({ options });
  const work = mkdtempSync(path.join(os.tmpdir(), "baton-pack-"));
  try {
    const { cross, prebuilt: asIs } = values;
    await check(work, { compile: !values["no-compile"], cross, asIs });
    say("the packed packages work as installed");
  } finally {
    if (values.keep) say(`kept ${work}`);
    else rmSync(work, { recursive: true });
  }
});
