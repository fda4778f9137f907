// SPDX-License-Identifier: Apache-2.0
// baton inspect: what a model file says about itself, read from its header alone.

import { resolveModel } from "../../model/source.js";
import { loadNative } from "../../native/load.js";
import type { MetadataValue, ModelFileInfo } from "../../native/types.js";
import { addQuietOption } from "../chain-command.js";
import { createProgress } from "../progress.js";
import type { Terminal } from "../terminal.js";
import { formatBytes, formatTable, writeJson } from "../terminal.js";
import type { CliCommand } from "./command.js";

interface InspectOptions {
  json?: boolean;
  quiet?: boolean;
  tensors?: boolean;
}

/** Long arrays as their size and first elements. */
function brief(value: MetadataValue): string {
  if (Array.isArray(value)) {
    const shown = value.slice(0, 3).map(brief).join(", ");
    return `[${shown}${value.length > 3 ? `, ... ${value.length} in all` : ""}]`;
  }
  if (typeof value !== "string") return String(value);
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 76)}..."` : text;
}

function tensorTypes({ tensors }: ModelFileInfo): { type: string; tensors: number; bytes: number }[] {
  const types = new Map<string, { type: string; tensors: number; bytes: number }>();
  for (const { type, bytes } of tensors) {
    const sum = types.get(type) ?? { type, tensors: 0, bytes: 0 };
    types.set(type, { type, tensors: sum.tensors + 1, bytes: sum.bytes + bytes });
  }
  return [...types.values()].sort((a, b) => b.bytes - a.bytes);
}

function print({ stdout }: Terminal, path: string, info: ModelFileInfo, all: boolean): void {
  const parameters = info.tensors.reduce((sum, one) => sum + one.shape.reduce((a, b) => a * b, 1), 0);
  const lines = [
    `${path}: ${info.format}${info.version === 0 ? "" : ` version ${info.version}`}, ${formatBytes(info.fileBytes)}`,
    `${info.tensors.length} tensors, ${(parameters / 1e6).toFixed(1)} million parameters`,
    "",
    formatTable([
      ["type", "tensors", "bytes"],
      ...tensorTypes(info).map((one) => [one.type, String(one.tensors), formatBytes(one.bytes)]),
    ]),
    "",
    formatTable(Object.entries(info.metadata).map(([key, value]) => [key, brief(value)])),
    "",
  ];
  if (all) {
    const rows = info.tensors.map((one) => [
      one.name,
      one.type,
      one.shape.join(" x "),
      formatBytes(one.bytes),
    ]);
    lines.push(formatTable([["tensor", "type", "shape", "bytes"], ...rows]), "");
  }
  stdout.write(lines.join("\n"));
}

export const inspectCommand: CliCommand = {
  register(program, { terminal, signal }) {
    addQuietOption(program.command("inspect"))
      .argument("<model>", "a file, or a name that `baton pull` knows")
      .option("--tensors", "list every tensor")
      .option("--json", "print one JSON object, complete")
      .description("show format, metadata and tensors of a model file")
      .action(async (model: string, { json, tensors, quiet }: InspectOptions) => {
        const progress = createProgress(terminal, { quiet: quiet === true || json === true });
        try {
          const { path } = await resolveModel(model, { signal, onProgress: (one) => progress.report(one) });
          progress.stop();
          const info = loadNative().readModelFile(path);
          if (json === true) writeJson(terminal, { path, ...info });
          else print(terminal, path, info, tensors === true);
        } finally {
          progress.stop();
        }
      });
  },
};
