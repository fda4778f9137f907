// SPDX-License-Identifier: Apache-2.0
// baton build: compiles the sources that are part of the package, for machines without a prebuilt binary. Never
// happens by itself.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { IoError } from "../../errors.js";
import { packageRoot } from "../../native/load.js";
import type { CliCommand } from "./command.js";

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
