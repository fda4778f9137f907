// SPDX-License-Identifier: Apache-2.0
// What a command is: it adds itself to the program and does its work with what it is given.

import type { Command as Program } from "commander";
import type { Terminal } from "../terminal.js";

export interface Context {
  terminal: Terminal;
  /** Aborted by Ctrl-C and SIGTERM. */
  signal: AbortSignal;
  /** Relative paths start here. */
  directory: string;
  /** Everything that may be read for `@-`. */
  stdin: AsyncIterable<Buffer | string>;
}

export interface CliCommand {
  /** Adds the command to the program; its action throws on failure. */
  register(program: Program, context: Context): void;
}
