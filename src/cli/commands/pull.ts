// SPDX-License-Identifier: Apache-2.0
// baton pull: makes a model present and checked, and says where it is.

import { resolveModel } from "../../model/source.js";
import { addQuietOption } from "../chain-command.js";
import { createProgress } from "../progress.js";
import { formatBytes, writeJson } from "../terminal.js";
import type { CliCommand } from "./command.js";

export const pullCommand: CliCommand = {
  register(program, { terminal, signal }) {
    addQuietOption(program.command("pull"))
      .argument("<model>", "name of the catalogue, hf:org/repo[/file.gguf], a file or a folder")
      .option("--json", "print one JSON object")
      .description("download a model and check it; prints its path")
      .action(async (model: string, { json, quiet }: { json?: boolean; quiet?: boolean }) => {
        const progress = createProgress(terminal, { quiet: quiet === true || json === true });
        try {
          const found = await resolveModel(model, { signal, onProgress: (one) => progress.report(one) });
          progress.stop();
          if (json === true) writeJson(terminal, found);
          else {
            const how = found.downloaded ? `downloaded from ${found.source}` : "already here";
            if (quiet !== true) terminal.stderr.write(`${found.name}: ${formatBytes(found.bytes)}, ${how}\n`);
            terminal.stdout.write(`${found.path}\n`);
          }
        } finally {
          progress.stop();
        }
      });
  },
};
