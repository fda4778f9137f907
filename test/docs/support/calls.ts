// SPDX-License-Identifier: Apache-2.0
// Calls of `baton` in a block of shell commands, held to the commands and options that the program registers.

import { Command } from "commander";
import { commands } from "../../../src/cli/commands/index.js";

const program = new Command("baton").option("--debug");
const nobody = { write: () => true };
for (const command of commands) {
  command.register(program, {
    terminal: { stdout: nobody, stderr: nobody } as never,
    signal: new AbortController().signal,
    directory: ".",
    stdin: { async *[Symbol.asyncIterator]() {} },
  });
}

/** Options that every command has. */
const everywhere = ["--help", "--debug", "--version"];

/** What is wrong with the calls of `baton` in these lines; `where` begins each sentence. */
export function wrongCalls(text: string, where: string): string[] {
  const lines = text.replace(/\\\n\s*/g, " ").split("\n");
  return lines.flatMap((line) => {
    const [, name = "", rest = ""] = /^(?:npx )?baton (\w+)(.*)$/.exec(line) ?? [];
    if (name === "") return [];
    const command = program.commands.find((one) => one.name() === name);
    if (command === undefined) return [`${where}: there is no baton ${name}`];
    const known = command.options.flatMap(({ long, short }) => [long, short]).concat(everywhere);
    const [call = ""] = rest.split(" #");
    const options = call.match(/(?<=\s)--?[a-z][\w-]*/g) ?? [];
    return options
      .filter((option) => !known.includes(option))
      .map((option) => `${where}: baton ${name} has no ${option}`);
  });
}
