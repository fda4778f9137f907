// SPDX-License-Identifier: Apache-2.0
// The program as its user meets it: arguments in, text and exit code out. Runs in this process with real commands.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readInputs } from "../../src/cli/chain-module.js";
import { runProgram } from "../../src/cli/program.js";
import { formatBytes, formatTable } from "../../src/cli/terminal.js";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "baton-cli-"));
  writeFileSync(join(directory, "text.txt"), "from a file");
  writeFileSync(join(directory, "empty.mjs"), "export default { model: 7 };\n");
  writeFileSync(join(directory, "throws.mjs"), 'throw new Error("module broke");\n');
  writeFileSync(
    join(directory, "no-model.mjs"),
    'export default { model: "./no-such-model.gguf", chain: () => { throw new Error("not reached"); } };\n',
  );
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

async function baton(
  args: string[],
  { stdin = "", signal = new AbortController().signal } = {},
): Promise<Outcome> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await runProgram(args, {
    terminal: { stdout: { write: (text) => out.push(text) }, stderr: { write: (text) => err.push(text) } },
    signal,
    directory,
    stdin: Readable.from([stdin]),
  });
  return { code, stdout: out.join(""), stderr: err.join("") };
}

describe("calls", () => {
  test("--help names every command and the exit codes, and ends with 0", async () => {
    const { code, stdout } = await baton(["--help"]);
    expect(code).toBe(0);
    for (const name of ["run", "explain", "tune", "pull", "inspect", "doctor", "build"])
      expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, "m"));
    expect(stdout).toContain("Exit codes: 0 done, 1 failed, 2 wrong call, 130 interrupted.");
  });

  test("--version is the package's", async () => {
    const { version } = (await import("../../package.json", { with: { type: "json" } })).default;
    expect(await baton(["--version"])).toMatchObject({ code: 0, stdout: `${version}\n` });
  });

  test.each([
    [["frobnicate"], /unknown command 'frobnicate'/],
    [["pull"], /missing required argument 'model'/],
    [["doctor", "--jsno"], /unknown option '--jsno'/],
    [["run", "absent.mjs"], /There is no file .*absent\.mjs/],
    [["run", "empty.mjs"], /must have a default export/],
    [["run", "no-model.mjs", "--input", "question"], /not of the form name=text/],
    [["run", "no-model.mjs", "-i", "q=1", "-i", "q=2"], /given twice/],
  ])("%j is a wrong call: exit code 2, one sentence", async (args, says) => {
    const { code, stdout, stderr } = await baton(args);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(says);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test("a failure is one sentence with its code and exit code 1; --debug adds the stack", async () => {
    const plain = await baton(["run", "no-model.mjs"]);
    expect(plain.code).toBe(1);
    expect(plain.stderr).toMatch(/^baton: .*no-such-model\.gguf.*\[SOURCE_FAILED\]\n$/ms);
    expect(plain.stderr).not.toMatch(/\n\s+at /);
    const debug = await baton(["--debug", "run", "no-model.mjs"]);
    expect(debug.code).toBe(1);
    expect(debug.stderr).toMatch(/\n\s+at /);
  });

  test("a module that throws is a failure, an unreadable input file too", async () => {
    expect(await baton(["run", "throws.mjs"])).toMatchObject({ code: 1, stderr: "baton: module broke\n" });
    const { code, stderr } = await baton(["run", "no-model.mjs", "-i", "q=@nowhere.txt"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/Cannot read the input file .*nowhere\.txt.*\[IO\]/);
  });

  test("an interrupt ends with 130", async () => {
    const { code, stderr } = await baton(["run", "no-model.mjs"], { signal: AbortSignal.abort() });
    expect(code).toBe(130);
    expect(stderr).toBe("baton: interrupted\n");
  });
});

describe("doctor", () => {
  test("every kernel agrees with its reference, as JSON and as a table", async () => {
    const json = await baton(["doctor", "--json"]);
    expect(json.code).toBe(0);
    const found = JSON.parse(json.stdout);
    expect(found).toMatchObject({ ok: true, node: process.version });
    expect(found.threads).toBeGreaterThanOrEqual(1);
    expect(found.kernels.length).toBeGreaterThan(0);
    const table = await baton(["doctor"]);
    expect(table.code).toBe(0);
    for (const { op } of found.kernels) expect(table.stdout).toContain(op);
  });

  test("says on which device models run and why, and what of CUDA is here", async () => {
    const { device, cuda } = JSON.parse((await baton(["doctor", "--json"])).stdout);
    const table = (await baton(["doctor"])).stdout;
    expect(device.used).toBe("cpu");
    expect(table).toContain(`device    cpu: ${device.why}`);
    if (cuda.problem !== null) {
      expect(cuda.problem).toMatchObject({ code: "DEVICE_UNAVAILABLE", facts: { device: "cuda" } });
      expect(device.why).toBe(cuda.problem.message);
    }
    if (cuda.driver !== null) expect(table).toContain(`cuda      driver ${cuda.driver}`);
    if (cuda.driver === null) expect(cuda).toMatchObject({ devices: [], library: null });
  });
});

describe("doctor, for a bug report", () => {
  const variables = { BATON_CACHE: "", BATON_API_KEYS: "a-secret-key", BATON_ADDON: "" };
  const withVariables = async (given: Partial<typeof variables>, args: string[]) => {
    const before = { ...process.env };
    Object.assign(process.env, given);
    try {
      return await baton(args);
    } finally {
      for (const name of Object.keys(given)) delete process.env[name];
      Object.assign(process.env, before);
    }
  };

  test("names versions, system, limits, the cache and the models in it, and Baton's variables without secrets", async () => {
    const cache = join(directory, "cache");
    mkdirSync(join(cache, "models", "x"), { recursive: true });
    writeFileSync(join(cache, "models", "x", "some.gguf"), "x".repeat(2048));
    const given = { BATON_CACHE: cache, BATON_API_KEYS: variables.BATON_API_KEYS };
    const { code, stdout } = await withVariables(given, ["doctor", "--json"]);
    const found = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(found).toMatchObject({
      baton: (await import("../../package.json", { with: { type: "json" } })).default.version,
      node: process.version,
      cache: { bytes: 2048, models: [{ name: "some.gguf", bytes: 2048 }] },
      environment: { BATON_API_KEYS: "(set, not shown)" },
      problem: null,
      ok: true,
    });
    expect(found.addon).toMatch(/baton\.node$/);
    expect(found.os).toContain(process.platform);
    if (process.platform === "linux") expect(found.libc).toMatch(/^(glibc \d+\.\d+|musl)$/);
    expect(found.memory.total).toBeGreaterThan(found.memory.free);
    for (const limit of Object.values(found.limits)) if (limit !== null) expect(limit).toBeGreaterThan(0);
    const text = (await withVariables(given, ["doctor"])).stdout;
    for (const label of ["baton ", "node ", "system ", "memory ", "limits ", "cache ", "variables "])
      expect(text).toMatch(new RegExp(`^${label}`, "m"));
    expect(text).toContain("some.gguf, 2.0 KiB");
    expect(text + stdout).not.toContain(variables.BATON_API_KEYS);
  });

  test("says what it can where the addon cannot be loaded, and fails with the places that were tried", () => {
    const env = { ...process.env, BATON_ADDON: join(directory, "nowhere.node") };
    const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
    const run = (args: string[]) =>
      spawnSync(process.execPath, [main, "doctor", ...args], { env, encoding: "utf8" });
    const plain = run([]);
    expect(plain.status).toBe(1);
    expect(plain.stdout).toMatch(/^system /m);
    expect(plain.stderr).toMatch(/nowhere\.node: no such file.*\[NATIVE_LOAD\]\n$/s);
    const json = JSON.parse(run(["--json"]).stdout);
    expect(json).toMatchObject({ node: process.version, problem: { code: "NATIVE_LOAD" }, ok: false });
  });
});

describe("inputs", () => {
  const read = async (path: string) => `<${path}>`;

  test("text, file, standard input, and a text that begins with @", async () => {
    expect(await readInputs(["a=x=y", "b=@f.txt", "c=@-", "d=@@x", "e="], read)).toEqual({
      a: "x=y",
      b: "<f.txt>",
      c: "<->",
      d: "@x",
      e: "",
    });
  });
});

test("bytes and tables for people", () => {
  expect([5, 2048, 98_362_432, 3 * 2 ** 30].map(formatBytes)).toEqual([
    "5 B",
    "2.0 KiB",
    "93.8 MiB",
    "3.00 GiB",
  ]);
  expect(
    formatTable([
      ["a", "b"],
      ["long", "x"],
    ]),
  ).toBe("a     b\nlong  x");
});
