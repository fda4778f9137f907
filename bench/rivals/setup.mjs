// SPDX-License-Identifier: Apache-2.0
// Installs the rivals beside this file and nowhere else: node-llama-cpp from its npm package, and the real
// llama-bench compiled from the llama.cpp sources inside that package and linked with the package's own shared
// objects. So both rivals run the same kernels, and neither needs a download besides the npm package.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const modules = path.join(here, "node_modules");
const build = path.join(here, "build");
const sources = path.join(build, "llama.cpp");
const program = path.join(build, "llama-bench");

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

function compileBench(objects) {
  rmSync(build, { recursive: true, force: true });
  mkdirSync(build, { recursive: true });
  console.error("compiling llama-bench");
  const bundle = path.join(modules, "node-llama-cpp/llama/gitRelease.bundle");
  run("git", ["-c", "advice.detachedHead=false", "clone", "--quiet", bundle, sources]);
  const library = (stem) => {
    const file = readdirSync(objects).find((name) => name.startsWith(`${stem}.`) && name.endsWith(".so"));
    if (file === undefined) throw new Stop(`${objects} has no ${stem}.*.so`);
    return path.join(objects, file);
  };
  const includes = ["include", "ggml/include", "common", "vendor", "src"];
  // NDEBUG: the program refuses to call its figures clean with its own assertions on.
  run("g++", [
    ...["-O2", "-DNDEBUG", "-std=c++17", "-o", program],
    ...includes.map((folder) => `-I${path.join(sources, folder)}`),
    ...["llama-bench.cpp", "main.cpp"].map((file) => path.join(sources, "tools/llama-bench", file)),
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

try {
  const fresh = installPackages();
  const objects = objectFolder();
  if (fresh || !existsSync(program)) compileBench(objects);
  linkVariants(objects);
  run(program, ["--list-devices"]);
  console.log(`node-llama-cpp ${installed("node-llama-cpp")}: ready`);
  console.log(`llama-bench: ${path.relative(process.cwd(), program)}`);
} catch (error) {
  if (!(error instanceof Stop)) throw error;
  console.error(`rivals: ${error.message}`);
  process.exitCode = 1;
}
