// SPDX-License-Identifier: Apache-2.0
// baton run: one run of a chain module. Outputs stream to standard output; figures go to standard error.

import type { Chain, ChainRun, OnProgress, StageUsage } from "../../index.js";
import type { ChainCommandOptions } from "../chain-command.js";
import { chainCommand, diskTier, withChain } from "../chain-command.js";
import type { ProgressView } from "../progress.js";
import type { Terminal } from "../terminal.js";
import { formatBytes, formatTable, writeJson } from "../terminal.js";
import type { CliCommand, Context } from "./command.js";

/** Every stage under its name, its text as it comes; stages at once by turns. Returns what each has cost. */
async function stream(
  start: (onProgress: OnProgress) => ChainRun<string>,
  { stdout, stderr }: Terminal,
  progress: ProgressView,
): Promise<Map<string, StageUsage>> {
  const usages = new Map<string, StageUsage>();
  let speaking: string | null = null;
  const run = start((one) => {
    if (speaking === null && one.phase === "prefill") progress.report(one); // no bar in the middle of a text
  });
  const turnTo = (stage: string) => {
    if (speaking === stage) return;
    progress.stop();
    if (speaking !== null) stdout.write("\n");
    stdout.write(`[${stage}]\n`);
    speaking = stage;
  };
  for await (const event of run) {
    if (event.type === "text-delta") {
      turnTo(event.stage);
      stdout.write(event.text);
    } else if (event.type === "stage-end") {
      turnTo(event.stage); // it may have written nothing
      stdout.write("\n");
      speaking = null;
      usages.set(event.stage, event.usage);
    } else if (event.type === "warning") stderr.write(`warning: ${event.message}\n`);
  }
  await run.result;
  return usages;
}

function usageTable(usages: ReadonlyMap<string, StageUsage>): string {
  const header = ["stage", "computed", "reused", "first token", "tokens", "tokens/s", "KV"];
  const rows = [...usages].map(([stage, usage]) => [
    stage,
    `${usage.rowsComputed} rows`,
    `${usage.rowsReused} rows`,
    `${usage.timeToFirstTokenMs.toFixed(1)} ms`,
    String(usage.tokens),
    usage.tokensPerSecond.toFixed(1),
    formatBytes(usage.kvBytes),
  ]);
  return formatTable([header, ...rows]);
}

interface RunCommandOptions extends ChainCommandOptions {
  cacheFolder?: string;
}

async function runChain(
  chain: Chain<string, string, string, string>,
  inputs: Record<string, string>,
  { json, quiet }: RunCommandOptions,
  { terminal, signal }: Context,
  progress: ProgressView,
): Promise<void> {
  if (json === true) {
    writeJson(terminal, await chain.run(inputs, { signal }).result);
    return;
  }
  const start = (onProgress: OnProgress) => chain.run(inputs, { signal, onProgress });
  const usages = await stream(start, terminal, progress);
  if (quiet !== true) terminal.stderr.write(`${usageTable(usages)}\n`);
}

export const runCommand: CliCommand = {
  register(program, context) {
    chainCommand(program, "run")
      .option("--json", "print one JSON object when the run has ended")
      .option("--cache-folder <folder>", "keep KV there, at most 1 GiB, for later runs that read the same")
      .description("run a chain once and stream what its stages write")
      .action((file: string, options: RunCommandOptions) => {
        const load = diskTier(options.cacheFolder, context.directory);
        return withChain(file, { ...options, load }, context, (chain, inputs, progress) =>
          runChain(chain, inputs, options, context, progress),
        );
      });
  },
};
