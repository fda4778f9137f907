// SPDX-License-Identifier: Apache-2.0
// The first thing that every entry of the package runs: an older Node hears what it lacks, in one sentence, and not by some
// name that it does not know. The program looks before that (`bin/baton.cjs`).

/** The lowest version that runs the package, as package.json's `engines` has it. */
const lowest = [20, 19] as const;

/** Throws an Error whose stack is its message: where it was thrown tells nobody anything. */
export function requireNode(version: string): void {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > lowest[0] || (major === lowest[0] && minor >= lowest[1])) return;
  const error = new Error(
    `This is Node ${version}, and baton-lm needs ${lowest.join(".")} or newer. Install a newer one, for example the ` +
      "current LTS release.",
  );
  error.name = "NodeVersionError";
  error.stack = `${error.name}: ${error.message}`;
  throw error;
}

requireNode(process.versions.node);
