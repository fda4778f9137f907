// SPDX-License-Identifier: Apache-2.0
// Which CUDA compiler is taken, and what is said where none can be had. The compilers here are scripts that print a
// version; the real one is installed and used by `npm run cuda:build`.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { root } from "../../scripts/lib/run.mjs";

const script = path.join(root, "scripts/cuda-toolchain.mjs");
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "baton-toolchain-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function program(file: string, text: string): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
}

function toolkit(name: string, version: string): string {
  const place = path.join(folder, name);
  program(path.join(place, "bin/nvcc"), `echo "Cuda compilation tools, release 1.2, V${version}"`);
  return place;
}

function ask(env: Record<string, string>, args: string[] = []) {
  const bin = path.join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  if (!existsSync(path.join(bin, "sh"))) symlinkSync("/bin/sh", path.join(bin, "sh"));
  const done = spawnSync(process.execPath, [script, ...args], {
    encoding: "utf8",
    env: { PATH: bin, BATON_CACHE: path.join(folder, "cache"), ...env },
  });
  return { status: done.status, out: done.stdout.trim(), said: done.stderr };
}

/** Why the pinned compiler would not be asked for here, if it would not be. */
const unpinned = [
  [process.platform !== "linux" || process.arch !== "x64", "the pinned compiler is for Linux on x64"],
  [existsSync("/usr/local/cuda"), "CUDA is installed here"],
].find(([is]) => is)?.[1] as string | undefined;

describe("the CUDA compiler", () => {
  it("is the one that BATON_CUDA_TOOLKIT names, and nothing else", () => {
    const [asked, home] = [toolkit("asked", "13.1.5"), toolkit("home", "13.0.88")];
    const found = ask({ BATON_CUDA_TOOLKIT: asked, CUDA_HOME: home });
    expect(found).toMatchObject({ status: 0, out: asked });
    expect(found.said).toContain("nvcc 13.1.5");
    const old = ask({ BATON_CUDA_TOOLKIT: toolkit("old", "12.9.86"), CUDA_HOME: home });
    expect(old).toMatchObject({ status: 1, out: "" });
    expect(old.said).toMatch(
      /BATON_CUDA_TOOLKIT is .*old, which has nvcc 12\.9\.86, 13\.0 or newer is needed/,
    );
    expect(old.said.trim().split("\n")).toHaveLength(1);
    expect(ask({ BATON_CUDA_TOOLKIT: folder }).said).toMatch(/has no bin\/nvcc/);
  });

  it("is an installed one that is new enough; older ones are passed over by name", () => {
    const [old, home] = [toolkit("old", "12.4.0"), toolkit("home", "14.0.1")];
    const found = ask({ CUDA_HOME: old, CUDA_PATH: home });
    expect(found).toMatchObject({ status: 0, out: home });
    expect(found.said).toMatch(/old has nvcc 12\.4\.0, 13\.0 or newer is needed: passed over/);
  });

  it("is otherwise the pinned one; without Python one sentence says what to install", (test) => {
    test.skip(unpinned !== undefined, unpinned);
    const { status, said } = ask({ CUDA_HOME: toolkit("home", "13.0.1") }, ["--pinned"]);
    expect(status).toBe(1);
    expect(said).toMatch(/Neither CUDA 13 nor Python 3 .* is here: install one/);
  });

  it("leaves nothing behind when pip fails, and repeats its words", (test) => {
    test.skip(unpinned !== undefined, unpinned);
    const python =
      '[ "$1" = --version ] && echo Python 3 && exit 0; echo "no matching distribution" >&2; exit 1';
    program(path.join(folder, "bin/python3"), python);
    const { status, said } = ask({});
    expect(status).toBe(1);
    expect(said).toMatch(/could not be installed .*pip: exit 1.*install CUDA 13 and set CUDA_HOME/);
    expect(said).toContain("no matching distribution");
    expect(readdirSync(path.join(folder, "cache"))).toEqual([]);
  });

  it("is installed once, whole, with lib64 where it is looked for", (test) => {
    test.skip(unpinned !== undefined, unpinned);
    // Stands for pip: writes what the packages hold into the folder behind --target.
    const pip = [
      '[ "$1" = --version ] && echo Python 3 && exit 0',
      "while [ $# -gt 1 ]; do",
      '  case "$1" in',
      '    --target) target="$2/nvidia/cu13" ;;',
      '    -r) requirements="$2" ;;',
      "    --require-hashes) hashes=yes ;;",
      "  esac",
      "  shift",
      "done",
      '[ "$hashes" = yes ] && [ -e "$requirements" ] || exit 3',
      'echo again >> "$LOG"',
      '/bin/mkdir -p "$target/bin" "$target/lib"',
      'echo "#!/bin/sh" > "$target/bin/nvcc"; echo "echo V13.0.88" >> "$target/bin/nvcc"',
      '/bin/chmod 755 "$target/bin/nvcc"',
    ].join("\n");
    program(path.join(folder, "bin/python3"), pip);
    const log = path.join(folder, "log");
    const [first, second] = [ask({ LOG: log }), ask({ LOG: log })];
    expect(first).toMatchObject({ status: 0 });
    expect(second).toMatchObject({ status: 0, out: first.out });
    expect(existsSync(path.join(first.out, "lib64"))).toBe(true);
    expect(readdirSync(path.join(folder, "cache"))).toHaveLength(1);
    expect(spawnSync("wc", ["-l", log], { encoding: "utf8" }).stdout.trim()).toMatch(/^1 /);
  });
});
