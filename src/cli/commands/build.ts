// SPDX-License-Identifier: Apache-2.0
// baton build: compiles the sources that are part of the package, for machines without a prebuilt binary. Never
// happens by itself.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { IoError } from "../../errors.js";
import { packageRoot } from "../../native/load.js";
import type { CliCommand } from "./command.js";

/** The published package has its sources in one file; a checkout has them as they are. */
async function unpackSources(root: string, signal: AbortSignal): Promise<void> {
  const archive = join(root, "native.tar.gz");
  if (!existsSync(archive)) return;
  const child = spawn("tar", ["-xzf", archive, "-C", root], { stdio: "inherit", signal });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", resolve);
  }).catch((cause: Error) => {
    if (signal.aborted) throw cause;
    throw new IoError(`tar, which unpacks the sources, does not start: ${cause.message}. Install it.`, {
      facts: { path: archive },
      cause,
    });
  });
  if (code !== 0)
    throw new IoError(`tar could not unpack ${archive} (code ${String(code)}). Mend what it names above.`, {
      facts: { path: archive, code: code ?? -1 },
    });
}

export const buildCommand: CliCommand = {
  register(program, { signal }) {
    program
      .command("build")
      .description(
        "compile the native part from the sources in this package (needs CMake and a C++20 compiler)",
      )
      .action(async () => {
        const root = packageRoot();
        const script = root === null ? "" : join(root, "scripts", "build-native.mjs");
        if (!existsSync(script)) {
          throw new IoError(
            `The build script ${script || "of the package"} is missing. Install baton-lm again; its package carries the sources.`,
            { facts: { path: script } },
          );
        }
        await unpackSources(root as string, signal);
        const child = spawn(process.execPath, [script], { stdio: "inherit", signal });
        const code = await new Promise<number | null>((resolve, reject) => {
          child.once("error", reject);
          child.once("exit", resolve);
        });
        if (code === 0) return;
        throw new IoError(
          `The native build ended with code ${String(code)}. Mend what it names above and run it again.`,
          {
            facts: { path: script, code: code ?? -1 },
          },
        );
      });
  },
};
