// SPDX-License-Identifier: Apache-2.0
// The platforms that have a package with a binary, and where each binary comes from. docs/platforms.md says what ran where.

/** Oldest glibc that published binaries run on: Node 20 and newer ask for as much themselves. */
export const glibcFloorWanted = [2, 28];

/**
 * @typedef {object} Platform
 * @property {string} tag as src/native/load.ts calls it
 * @property {string} folder below prebuilds/, as prebuildify names it
 * @property {string} file in that folder
 * @property {string} os as package.json names it; cpu and libc too
 * @property {string} cpu
 * @property {string} [libc]
 * @property {{ target: string, system: string, processor: string, rust?: string }} [cross] how another machine builds it:
 *   zig's target, CMake's names; Rust's and Debian's where Debian has Rust's standard library
 */

/** @type {Platform[]} */
export const platforms = [
  {
    tag: "linux-x64-gnu",
    folder: "linux-x64",
    file: "baton.glibc.node",
    os: "linux",
    cpu: "x64",
    libc: "glibc",
  },
  {
    tag: "linux-arm64-gnu",
    folder: "linux-arm64",
    file: "baton.glibc.node",
    os: "linux",
    cpu: "arm64",
    libc: "glibc",
    cross: {
      target: `aarch64-linux-gnu.${glibcFloorWanted.join(".")}`,
      system: "Linux",
      processor: "aarch64",
      rust: "aarch64-unknown-linux-gnu",
      debian: "arm64",
    },
  },
];

/** The CUDA library with the addon beside it, which is where that one looks; it comes in place of the platform's package. */
export const cudaPackage = {
  tag: "linux-x64-gnu-cuda",
  of: "linux-x64-gnu",
  library: "build/Release/libbaton_cuda.so",
};

/** @returns {Platform} of the Node that runs this */
export function hostPlatform() {
  const { glibcVersionRuntime } = process.report?.getReport().header ?? {};
  const libc = glibcVersionRuntime ? "glibc" : "musl";
  return platforms.find(
    (one) =>
      one.os === process.platform &&
      one.cpu === process.arch &&
      (one.libc === undefined || one.libc === libc),
  );
}
