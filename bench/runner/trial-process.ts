// SPDX-License-Identifier: Apache-2.0
// One trial in a process of its own, so that no subject inherits another's memory, threads or warm caches.
import { spawn } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Samples, Task, TrialSettings } from "../contract.js";

const program = path.join(path.dirname(fileURLToPath(import.meta.url)), "trial.js");

export type TrialRequest =
  | { subject: string; settings: TrialSettings; describe: true }
  | { subject: string; settings: TrialSettings; task: Task };

export type TrialReply = { ok: true; value: Samples | string } | { ok: false; message: string };

/** Subjects and their libraries print what they like on stdout and stderr; the reply has a channel of its own. */
export async function runTrial(
  request: TrialRequest,
  signal?: AbortSignal,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Samples | string> {
  const child = spawn(process.execPath, [program, JSON.stringify(request)], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    env,
    ...(signal === undefined ? {} : { signal }),
  });
  let errors = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-2000);
  });
  let reply: TrialReply | undefined;
  child.on("message", (message) => {
    reply = message as TrialReply;
  });
  const ended = await new Promise<string | number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(signal ?? code ?? "?"));
  });
  if (reply?.ok === true) return reply.value;
  const reason = reply?.ok === false ? reply.message : `ended with ${ended}\n${errors}`;
  throw new Error(`a trial of ${request.subject} failed: ${reason}`);
}
