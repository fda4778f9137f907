// SPDX-License-Identifier: Apache-2.0
// baton explain: what a chain will do, before it does it, as a table, a picture or JSON.

import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Option } from "commander";
import type { PictureKind } from "../../chain/pictures/index.js";
import { pictureKinds } from "../../chain/pictures/index.js";
import { IoError } from "../../errors.js";
import type { ChainCommandOptions } from "../chain-command.js";
import { chainCommand, withChain } from "../chain-command.js";
import { writeJson } from "../terminal.js";
import type { CliCommand } from "./command.js";

interface Options extends ChainCommandOptions {
  as: PictureKind;
  output?: string;
}

async function writeOutput(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new IoError(`Cannot write ${path}: ${reason}. Give a path that can be written.`, {
      facts: { path },
      cause,
    });
  }
}

export const explainCommand: CliCommand = {
  register(program, context) {
    chainCommand(program, "explain")
      .addOption(new Option("--as <picture>", "what to print").choices([...pictureKinds]).default("table"))
      .option("-o, --output <file>", "write it to a file")
      .option("--json", "print segments, frames and shifts as one JSON object")
      .description("show who reads whom, where rows stand and with which shifts, without running")
      .action((file: string, options: Options) =>
        withChain(file, options, context, async (chain, inputs) => {
          const explanation = await chain.explain(inputs);
          const { layout, groups, segments } = explanation;
          const { as, output, json } = options;
          const text = `${explanation.draw(as).trimEnd()}\n`;
          if (output !== undefined) await writeOutput(resolve(context.directory, output), text);
          if (json === true) writeJson(context.terminal, { layout, groups, segments });
          else if (output === undefined) context.terminal.stdout.write(text);
        }),
      );
  },
};
