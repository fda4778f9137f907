// SPDX-License-Identifier: Apache-2.0
// The resolver in processes of its own: compiled once per test file, started with plain node.
import type { ChildProcess } from "node:child_process";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../", import.meta.url));

const program = `
import { resolveModel } from "./model/source.js";
const [name, cacheDir] = process.argv.slice(2);
try {
  const found = await resolveModel(name, { cacheDir, onProgress: ({ phase }) => console.error(phase) });
  console.log(JSON.stringify(found));
} catch (error) {
  console.log(JSON.stringify({ code: error.code, message: error.message, facts: error.facts }));
}
`;

export interface PullResult {
  /** What the process printed: a ResolvedModel, or code, message and facts of its error. */
  answer: Record<string, unknown>;
  phases: string[];
}

export interface RunningPull {
  child: ChildProcess;
  /** Resolves when the process has reported the phase. */
  phase(wanted: string): Promise<void>;
  result: Promise<PullResult>;
}

export class PullProgram {
  private constructor(private readonly folder: string) {}

  /** Compiles src/ into a folder beside the packages that it imports. */
  static async compile(): Promise<PullProgram> {
    const folder = await mkdtemp(join(root, "node_modules/.baton-pull-"));
    const compiler = join(root, "node_modules/typescript/bin/tsc");
    const flags = [
      "-p",
      "tsconfig.build.json",
      "--outDir",
      folder,
      "--incremental",
      "false",
      "--declaration",
      "false",
    ];
    // Type errors are another check's business; what matters here is that it runs.
    const only = ["--tsBuildInfoFile", "null", "--noEmitOnError", "false"];
    await promisify(execFile)(process.execPath, [compiler, ...flags, ...only], { cwd: root }).catch(
      () => undefined,
    );
    await writeFile(join(folder, "pull.mjs"), program);
    await writeFile(join(folder, "package.json"), '{"type":"module"}');
    return new PullProgram(folder);
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }

  start(name: string, env: Readonly<Record<string, string>>, cacheDir: string): RunningPull {
    const child = spawn(process.execPath, [join(this.folder, "pull.mjs"), name, cacheDir], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let log = "";
    const waiting: { wanted: string; resolve: () => void }[] = [];
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      log += chunk.toString();
      for (const { wanted, resolve } of waiting) if (log.split("\n").includes(wanted)) resolve();
    });
    const result = new Promise<PullResult>((resolve) => {
      child.on("close", () => {
        const answer = output === "" ? { message: log } : (JSON.parse(output) as Record<string, unknown>);
        resolve({ answer, phases: log.trim().split("\n") });
      });
    });
    const phase = (wanted: string) =>
      new Promise<void>((resolve) => {
        if (log.split("\n").includes(wanted)) resolve();
        else waiting.push({ wanted, resolve });
      });
    return { child, phase, result };
  }
}
