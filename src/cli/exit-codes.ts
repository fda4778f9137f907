// SPDX-License-Identifier: Apache-2.0
// What the program's exit code means; part of its interface, shown by `baton --help`.

export const exitCodes = {
  ok: 0,
  /** The work failed: model, prompt, chain, memory, network. */
  failure: 1,
  /** The call itself was wrong: unknown command or option, a missing or malformed argument. */
  usage: 2,
  /** Interrupted (Ctrl-C, SIGTERM); everything was released. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** A wrong call: one sentence with the remedy, exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
