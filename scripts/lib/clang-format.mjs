// SPDX-License-Identifier: Apache-2.0
// Every clang-format version formats a little differently, so one version is pinned. It is taken from PATH when it is
// that one, else from its Python package, kept under build-cmake/tools.
import { existsSync } from "node:fs";
import path from "node:path";
import { quietly, root, Stop, say } from "./run.mjs";
import { versionLine } from "./tools.mjs";

const version = "22.1.8";

/** @returns {string} the program to call */
export function clangFormat() {
  if (versionLine("clang-format")?.includes(`version ${version}`)) return "clang-format";
  const folder = path.join(root, "build-cmake/tools", `clang-format-${version}`);
  const program = path.join(folder, "clang_format/data/bin/clang-format");
  if (existsSync(program)) return program;
  if (versionLine("python3") === undefined) {
    throw new Stop(
      `clang-format ${version} is missing: install it, or Python 3 with pip so that it can be fetched.`,
    );
  }
  say(`installing clang-format ${version} from its Python package`);
  const pip = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--no-deps",
    "--target",
    folder,
  ];
  quietly("python3", [...pip, `clang-format==${version}`]);
  return program;
}
