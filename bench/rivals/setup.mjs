// SPDX-License-Identifier: Apache-2.0
// Installs the rivals beside this file and nowhere else: node-llama-cpp from its npm package, and llama.cpp's own
// programs compiled from the sources inside that package, and one of ours where it has none (llama-forks.cpp), linked with
// the package's own shared objects. So all rivals
// run the same kernels, and none needs a download besides the npm package.
//
// BATON_ISA caps the rivals too: a folder of its own under build/ then has the programs and the package beside none but
// those variants of ggml's CPU library that the cap allows.
import { spawnSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const modules = path.join(here, "node_modules");
const build = path.join(here, "build");
const sources = path.join(build, "llama.cpp");
const tool = (folder, source) =>
  [source, "main.cpp"].map((file) => path.join(sources, "tools", folder, file));
/** Each with its sources. */
const programs = {
  "llama-bench": tool("llama-bench", "llama-bench.cpp"),
  "llama-batched-bench": tool("batched-bench", "batched-bench.cpp"),
  "llama-perplexity": tool("perplexity", "perplexity.cpp"),
  "llama-forks": [path.join(here, "llama-forks.cpp")],
};
/** What a cap allows of libggml-cpu-*, of which the library takes the best that runs here; amx caps nothing. */
const variantsWithin = {
  scalar: ["x64"],
  avx2: ["x64", "sse42", "sandybridge", "ivybridge", "piledriver", "haswell"],
  avx512: ["haswell", "skylakex", "cannonlake", "cascadelake", "icelake", "cooperlake", "zen4"],
};

class Stop extends Error {}

function run(command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: here, encoding: "utf8", maxBuffer: 64 << 20, ...options });
  if (done.error) throw new Stop(`cannot start ${command}: ${done.error.message}`);
  if (done.status !== 0) {
    throw new Stop(
      `${command} ${args[0] ?? ""} failed (${done.signal ?? done.status}):\n${done.stderr.slice(-2000)}`,
    );
  }
  return done.stdout;
}

const readJson = (file) => JSON.parse(readFileSync(file, "utf8"));

/** Version of an installed package, or undefined. */
function installed(name) {
  const file = path.join(modules, name, "package.json");
  return existsSync(file) ? readJson(file).version : undefined;
}

function installPackages() {
  const wanted = readJson(path.join(here, "package.json")).dependencies["node-llama-cpp"];
  if (installed("node-llama-cpp") === wanted) return false;
  console.error(`installing node-llama-cpp ${wanted}`);
  // Not `npm ci`: it refuses a lock without the packages of platforms that a registry does not carry.
  // The prebuilt binary is in the platform package; the install script would only look for it again.
  run("npm", ["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"], {
    env: { ...process.env, NODE_LLAMA_CPP_SKIP_DOWNLOAD: "true" },
  });
  return true;
}

/** Folder of the shared objects that node-llama-cpp loads on this machine. */
function objectFolder() {
  const platform = `${process.platform}-${process.arch}`;
  const folder = path.join(modules, "@node-llama-cpp", platform, "bins", platform);
  if (existsSync(folder)) return folder;
  throw new Stop(
    `node-llama-cpp has no prebuilt binary for ${platform}: compare on linux-x64 or linux-arm64`,
  );
}

function cloneSources() {
  if (existsSync(sources)) return;
  mkdirSync(build, { recursive: true });
  const bundle = path.join(modules, "node-llama-cpp/llama/gitRelease.bundle");
  run("git", ["-c", "advice.detachedHead=false", "clone", "--quiet", bundle, sources]);
}

function compile(name, objects) {
  console.error(`compiling ${name}`);
  const library = (stem) => {
    const file = readdirSync(objects).find((one) => one.startsWith(`${stem}.`) && one.endsWith(".so"));
    if (file === undefined) throw new Stop(`${objects} has no ${stem}.*.so`);
    return path.join(objects, file);
  };
  const includes = ["include", "ggml/include", "common", "vendor", "src"];
  // NDEBUG: llama-bench refuses to call its figures clean with its own assertions on.
  run("g++", [
    ...["-O2", "-DNDEBUG", "-std=c++17", "-o", path.join(build, name)],
    ...includes.map((one) => `-I${path.join(sources, one)}`),
    ...programs[name],
    ...["libllama", "libllama-common", "libggml", "libggml-base"].map(library),
    `-Wl,-rpath,${objects}`,
    "-lpthread",
  ]);
}

/** ggml scores every CPU variant beside the program and loads the best one, so all of them go there. */
function linkVariants(objects) {
  for (const name of readdirSync(objects).filter((file) => file.startsWith("libggml-cpu"))) {
    rmSync(path.join(build, name), { force: true });
    symlinkSync(path.join(objects, name), path.join(build, name));
  }
}

/** Hard links throughout: the programs look for variants beside themselves, the package inside itself. */
function makeCapped(cap) {
  const allowed = variantsWithin[cap];
  if (allowed === undefined)
    throw new Stop(`BATON_ISA is ${cap}: must be ${Object.keys(variantsWithin).join(" or ")}`);
  const folder = path.join(build, cap);
  if (existsSync(folder)) return;
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  run("cp", ["-al", modules, path.join(part, "node_modules")]);
  for (const name of Object.keys(programs)) linkSync(path.join(build, name), path.join(part, name));
  const objects = path.join(part, path.relative(here, objectFolder()));
  for (const name of readdirSync(objects).filter((file) => file.startsWith("libggml-cpu-"))) {
    const variant = name.slice("libggml-cpu-".length).replace(/\..*/, "");
    if (!allowed.includes(variant)) rmSync(path.join(objects, name));
    else linkSync(path.join(objects, name), path.join(part, name));
  }
  renameSync(part, folder);
}

try {
  if (installPackages()) rmSync(build, { recursive: true, force: true });
  const objects = objectFolder();
  cloneSources();
  for (const name of Object.keys(programs)) {
    if (!existsSync(path.join(build, name))) compile(name, objects);
  }
  linkVariants(objects);
  const cap = process.env.BATON_ISA === "amx" ? undefined : process.env.BATON_ISA || undefined;
  if (cap !== undefined) makeCapped(cap);
  const place = cap === undefined ? build : path.join(build, cap);
  run(path.join(place, "llama-bench"), ["--list-devices"]);
  console.log(`node-llama-cpp ${installed("node-llama-cpp")}: ready`);
  console.log(`programs of llama.cpp: ${path.relative(process.cwd(), place)}`);
} catch (error) {
  if (!(error instanceof Stop)) throw error;
  console.error(`rivals: ${error.message}`);
  process.exitCode = 1;
}
