// SPDX-License-Identifier: Apache-2.0
// The interpreter that has PyTorch and transformers.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { rivals } from "../runner/paths.js";

/** What setup-python.mjs made, or BATON_BENCH_PYTHON. */
export function pythonOf(env: NodeJS.ProcessEnv = process.env): string {
  return env.BATON_BENCH_PYTHON ?? path.join(rivals, ".venv/bin/python");
}

/** What it prints on standard output. Throws Error with the end of what it says of a failure. */
export async function runPython(args: string[]): Promise<string> {
  const python = pythonOf();
  if (!existsSync(python)) throw new Error(`${python} is not there: run bench/rivals/setup-python.mjs`);
  const child = spawn(python, args, { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const code = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve(signal ?? status));
  });
  if (code !== 0)
    throw new Error(`${path.basename(args[0] ?? "")} ended with ${code}: ${stderr.slice(-1500)}`);
  return stdout;
}
