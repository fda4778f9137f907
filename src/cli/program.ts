// SPDX-License-Identifier: Apache-2.0
// The program as a function: arguments in, exit code out, no global state. A failure is one sentence with the remedy
// on standard error; --debug adds the stack.

import { Command, CommanderError } from "commander";
import { BatonError } from "../errors.js";
import { packageVersion } from "../native/load.js";
import type { Context } from "./commands/command.js";
import { commands } from "./commands/index.js";
import type { ExitCode } from "./exit-codes.js";
import { exitCodes, UsageError } from "./exit-codes.js";

const help = `
Exit codes: 0 done, 1 failed, 2 wrong call, 130 interrupted.`;

function createProgram(context: Context): Command {
  const { stdout, stderr } = context.terminal;
  const program = new Command("baton")
    .description("Chains of prompt-tuned specialists over one frozen language model and one KV cache")
    .version(packageVersion())
    .option("--debug", "show the stack of a failure")
    .addHelpText("after", help)
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) })
    .exitOverride();
  for (const command of commands) command.register(program, context);
  // a command inherits neither of the two from its program when it is made by .command()
  for (const command of program.commands) command.copyInheritedSettings(program);
  return program;
}

function isDebug(program: Command): boolean {
  return program.opts<{ debug?: boolean }>().debug === true;
}

/** The sentence for standard error; `code` in brackets lets people search for it. */
function sentence(error: unknown): string {
  if (BatonError.isInstance(error)) return `${error.message} [${error.code}]`;
  return error instanceof Error ? error.message : String(error);
}

function exitCodeOf(error: unknown, signal: AbortSignal): ExitCode {
  if (signal.aborted) return exitCodes.interrupted;
  return error instanceof UsageError ? exitCodes.usage : exitCodes.failure;
}

/** Runs one call; `args` without node and script. Never throws, never exits the process. */
export async function runProgram(args: readonly string[], context: Context): Promise<ExitCode> {
  const program = createProgram(context);
  const { stderr } = context.terminal;
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCodes.ok;
  } catch (error) {
    // commander has written its own message; help and version end with code 0
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    const code = exitCodeOf(error, context.signal);
    if (code === exitCodes.interrupted) stderr.write("baton: interrupted\n");
    else stderr.write(`baton: ${sentence(error)}\n`);
    if (isDebug(program) && error instanceof Error) stderr.write(`${error.stack ?? ""}\n`);
    return code;
  }
}
