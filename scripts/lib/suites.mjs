// SPDX-License-Identifier: Apache-2.0
// Runs each suite and returns what it really did: one result per test, and a failed one for a suite that died, ended
// early or ran nothing.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { root } from "./run.mjs";

/**
 * @typedef {object} Result
 * @property {string} suite
 * @property {string} name
 * @property {string} file
 * @property {"passed" | "failed" | "skipped"} status
 * @property {number} ms
 * @property {string} reason why it was skipped
 * @property {string[]} messages why it failed
 */

export const broken = (suite, name, message) => ({
  suite,
  name,
  file: "",
  status: "failed",
  ms: 0,
  reason: "",
  messages: [message],
});

function endOf(code, signal) {
  return signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
}

/**
 * The native unit tests.
 * @param {string} program
 * @param {{ filters?: string[], env?: Record<string, string>, label?: string }} options
 * @returns {Promise<Result[]>}
 */
export async function runNative(program, { filters = [], env = {}, label = "native" } = {}) {
  const child = spawn(program, filters, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    errors = (errors + text).slice(-20_000);
  });
  const ended = new Promise((resolve) => child.on("close", (code, signal) => resolve(endOf(code, signal))));
  const results = [];
  let running;
  let done;
  for await (const line of createInterface({ input: child.stdout })) {
    const event = line.startsWith("{") ? JSON.parse(line) : {};
    if (event.start) running = event.start;
    else if (event.name) results.push({ suite: label, ...event });
    else if (event.done !== undefined) done = event.done;
  }
  const end = await ended;
  if (done !== results.length || end !== endOf(0, null)) {
    const what =
      running && done === undefined ? `${running}: the process ${end} in this test` : `the process ${end}`;
    results.push(broken(label, "(native test process)", `${what}\n${errors}`));
  }
  return results;
}

/**
 * The TypeScript tests and the rules.
 * @param {string[]} filters and options of vitest
 * @param {{ env?: Record<string, string>, label?: string }} options
 * @returns {Result[]}
 */
export function runVitest(filters = [], { env = {}, label = "vitest" } = {}) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "baton-test-"));
  const file = path.join(folder, "results.jsonl");
  const reporter = path.join(root, "scripts/lib/vitest-reporter.mjs");
  const args = ["run", "--reporter=default", `--reporter=${reporter}`, "--passWithNoTests", ...filters];
  const done = spawnSync(process.execPath, [path.join(root, "node_modules/vitest/vitest.mjs"), ...args], {
    cwd: root,
    env: { ...process.env, ...env, BATON_TEST_RESULTS: file },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const lines = readLines(file);
  rmSync(folder, { recursive: true });
  const results = lines.filter((line) => line.name).map((line) => ({ suite: label, ...line }));
  const complete = lines.some((line) => line.done);
  const unexplained = done.status !== 0 && !results.some((result) => result.status === "failed");
  if (!complete || unexplained) {
    results.push(broken(label, "(vitest itself)", `vitest ${endOf(done.status, done.signal)}`));
  }
  return results;
}

function readLines(file) {
  try {
    return readFileSync(file, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
}
