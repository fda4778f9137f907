// SPDX-License-Identifier: Apache-2.0
// The example projects as users start them: each a process of its own on the real model and the built package, with few
// tokens. In the checkout they find the package by a link; one is installed by npm as its README says.

import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { npmCommand } from "../scripts/lib/run.mjs";

const root = join(import.meta.dirname, "..");
const folder = join(root, "examples");
const run = promisify(execFile);
const scratch = mkdtempSync(join(tmpdir(), "baton-examples-"));

beforeAll(() => {
  const link = join(folder, "node_modules/baton-lm");
  mkdirSync(join(folder, "node_modules"), { recursive: true });
  if (!existsSync(link)) symlinkSync("../..", link, "dir");
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const start = async (file: string, args: readonly string[] = []) =>
  run(process.execPath, [join(folder, file), ...args], { cwd: scratch });

const projects = ["agent-fan-out", "rag", "recall-reason", "route-handler", "tune-and-deploy"];

describe("the projects", () => {
  test("are all here, each with what npm needs and a page", () => {
    const folders = readdirSync(folder, { withFileTypes: true }).filter(
      (item) => item.isDirectory() && item.name !== "node_modules" && !item.name.startsWith("."),
    );
    expect(folders.map(({ name }) => name).sort()).toEqual(projects);
    for (const name of projects) {
      const { scripts, dependencies, ...manifest } = JSON.parse(
        readFileSync(join(folder, name, "package.json"), "utf8"),
      );
      expect(manifest).toEqual({ name: `baton-example-${name}`, private: true, type: "module" });
      expect(dependencies["baton-lm"]).toBe("file:../..");
      expect(existsSync(join(folder, name, scripts.start.replace("node ", "")))).toBe(true);
      expect(existsSync(join(folder, name, "README.md"))).toBe(true);
    }
  });

  test("have types that hold", () => {
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const args = ["--noEmit", "--pretty", "false", "--project", join(folder, "tsconfig.json")];
    const { stdout, status } = spawnSync(process.execPath, [tsc, ...args], { encoding: "utf8" });
    expect([stdout, status]).toEqual(["", 0]);
  });

  test("are installed and started by npm", async () => {
    const copy = mkdtempSync(join(folder, ".installed-"));
    try {
      cpSync(join(folder, "recall-reason"), copy, { recursive: true });
      const [npm = "npm", ...args] = npmCommand();
      const quiet = ["--ignore-scripts", "--offline", "--no-audit", "--no-fund"];
      await run(npm, [...args, "install", ...quiet], { cwd: copy });
      const { stdout } = await run(npm, [...args, "start", "--", "--max-tokens", "2"], { cwd: copy });
      expect(stdout).toMatch(/^4 rounds, stopped by max$/m);
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  }, 300_000);
});

/** Stages that a chain must have run, and what else it must say. */
const chains: Record<string, RegExp[]> = {
  "rag/compress-answer.mjs": [/^\[compress\] \S/m, /^\[answer\] \S/m],
  "rag/critique-retrieve.mjs": [
    /^\[search\[0\]\.answer\] \S/m,
    /^\[search\[0\]\.critique\] \S/m,
    /^[123] rounds, stopped by (max|until); answer: \S/m,
  ],
  "rag/rewrite-retrieve-answer.mjs": [/^\[rewrite\] \S/m, /^\[answer\] \S/m],
  "recall-reason/main.mjs": [
    /^\[turns\[0\]\.reason\] \S/m,
    /^\[turns\[0\]\.lookup\.recall\] \S/m,
    /^\[turns\[1\]\.reason\] \S/m,
    /^[2-4] rounds, stopped by (max|until)$/m,
  ],
};

describe("chains under trained prompts, and with texts in their place", () => {
  const calls = Object.keys(chains).flatMap((file) => [[file, []] as const, [file, ["--untuned"]] as const]);

  test.each(calls)(
    "%s %j",
    async (file, options) => {
      const { stdout, stderr } = await start(file, ["--max-tokens", "8", ...options]);
      expect(stderr).toBe(""); // no warning either: trained prompts are used as they were trained
      for (const one of chains[file] ?? []) expect(stdout).toMatch(one);
      const [, computed, reused] =
        /^rows computed: (\d+), read from the cache instead: (\d+)$/m.exec(stdout) ?? [];
      expect(Number(computed)).toBeGreaterThan(20);
      expect(Number(reused)).toBeGreaterThan(10);
    },
    300_000,
  );

  test("on a model that is not there they say so, without a trace of calls", async () => {
    const failed = await start("rag/compress-answer.mjs", ["--model", "./nothing.gguf"]).catch(
      (error: { code: number; stderr: string }) => error,
    );
    expect(failed).toMatchObject({ code: 1 });
    expect(failed.stderr).toMatch(/nothing\.gguf[\s\S]*\[[A-Z_]+\]$/m);
    expect(failed.stderr).not.toMatch(/^\s+at /m);
  });
});

test("agents share the rows of their case file, and the next start finds it", async () => {
  const args = ["--folder", join(scratch, "sessions"), "--max-tokens", "6"];
  const first = await start("agent-fan-out/main.mjs", args);
  const second = await start("agent-fan-out/main.mjs", args);
  expect(first.stderr + second.stderr).toBe("");
  const [, rows] = /^the case file has (\d+) rows$/m.exec(first.stdout) ?? [];
  expect(second.stdout).toContain(`the case file was saved: ${rows} rows, none of them computed`);
  for (const agent of ["builder", "mover", "museum"]) {
    const [, computed, shared] =
      new RegExp(`^\\[${agent}\\] .*, (\\d+) rows computed to begin, (\\d+) shared\\)$`, "m").exec(
        first.stdout,
      ) ?? [];
    expect(Number(computed)).toBeLessThan(12);
    expect(Number(shared)).toBeGreaterThan(50);
  }
}, 300_000);

test("a stage is tuned, written and served", async () => {
  const output = join(scratch, "prompts");
  const args = ["--output", output, "--epochs", "1", "--records", "8"];
  const { stdout, stderr } = await start("tune-and-deploy/main.mjs", args);
  expect(stderr).toBe("");
  expect(readdirSync(output)).toEqual(
    expect.arrayContaining(["adapter_config.json", "adapter_model.safetensors", "baton_contract.json"]),
  );
  const losses = [...stdout.matchAll(/^after \d epochs: dev loss ([\d.]+)/gm)].map(([, loss]) =>
    Number(loss),
  );
  expect(losses).toHaveLength(2);
  expect(losses[1]).toBeLessThan(losses[0] as number);
  expect(stdout).toMatch(/^200: When did .*"chain":"years"/m);
}, 300_000);

describe("a handler of requests", () => {
  /** Calls `use` with the address that the project says. */
  async function served(use: (url: string) => Promise<void>): Promise<void> {
    const file = join(folder, "route-handler/main.mjs");
    const server = spawn(process.execPath, [file, "--port", "0"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(server, "exit");
    try {
      const [url] = (await once(createInterface(server.stdout), "line")) as [string];
      await use(url);
    } finally {
      server.kill("SIGTERM");
    }
    expect(await ended).toEqual([0, null]);
  }

  test("streams a chain as it writes, refuses what is no question, and ends when it is told to", async () => {
    await served(async (url) => {
      const ask = (body: string) => fetch(url, { method: "POST", body });
      expect((await ask("not JSON")).status).toBe(400);
      expect(await (await ask('{"question":7}')).json()).toEqual({
        error: expect.stringMatching(/question/),
      });
      const lines = (await (await ask('{"question":"Who built the lighthouse?"}')).text()).trim().split("\n");
      const parts = lines.map((line) => JSON.parse(line));
      expect(parts.filter(({ stage }) => stage === "facts").length).toBeGreaterThan(2);
      expect(parts.at(-1)).toEqual({
        rowsComputed: { facts: expect.any(Number), answer: expect.any(Number) },
      });
      const left = await ask('{"question":"Who goes away?"}');
      await left.body?.getReader().cancel();
    });
  }, 300_000);
});
