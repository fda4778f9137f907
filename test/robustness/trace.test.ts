// SPDX-License-Identifier: Apache-2.0
// Trace files of processes that end in every way, that cannot write, and that have several models.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { IoError, OptionInvalidError } from "../../src/errors.js";
import { crossings, parseTrace, readTrace } from "../helpers/trace.js";
import { eventually, failure, fresh, greedy, ids, openTiny, runChild, tinyOptions } from "./support.js";

let folder = "";
let file = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "baton-trace-"));
  file = join(folder, "trace.json");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const child = (way: string) => runChild("trace.mjs", [way], { env: { BATON_TRACE: file } });

describe("the file is whole", () => {
  test.each([
    ["closed", 0, 1, 5],
    ["again", 0, 3, 15],
    ["never-closed", 0, 1, 5],
    ["exit-while-streaming", 7, 1, 1],
  ])("%s", async (way, code, models, turns) => {
    expect(await child(way)).toMatchObject({ code, stderr: "" });
    const trace = readTrace(file);
    expect(trace.models.size).toBe(models);
    expect(trace.events.filter((one) => one.name === "turn").length).toBeGreaterThanOrEqual(turns);
    expect(crossings(trace)).toEqual([]);
  });

  test("two models and one of a worker thread: one file, a process each, lines of their own", async () => {
    expect(await child("two-models-and-a-worker")).toMatchObject({ code: 0, stderr: "" });
    const trace = readTrace(file);
    expect([...trace.models.keys()].sort()).toEqual([1, 2, 3]);
    const names = (pid: number) =>
      [...trace.threads.values()].filter((one) => one.pid === pid).map((one) => one.name);
    const lines = [1, 2, 3].map((pid) => names(pid).join());
    expect(lines.sort()).toEqual(["engine", "engine,worker 1", "engine,worker 1"]);
    for (const { pid, tid } of trace.events) expect(trace.threads.get(tid)?.pid).toBe(pid);
    expect(crossings(trace)).toEqual([]);
  });

  test("of a process that is killed, but for its bracket, whenever that is", async () => {
    const script = fileURLToPath(new URL("children/trace.mjs", import.meta.url));
    for (let turn = 0; turn < 5; turn++) {
      const killed = spawn(process.execPath, [script, "forever"], {
        env: { ...process.env, BATON_TRACE: file },
        stdio: ["ignore", "pipe", "inherit"],
      });
      await new Promise((resolve) => killed.stdout.once("data", resolve));
      expect(() => parseTrace(readFileSync(file, "utf8"), true)).not.toThrow();
      expect(await eventually(() => statSync(file).size > 50_000)).toBe(true);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 200));
      const ended = new Promise((resolve) => killed.on("close", resolve));
      killed.kill("SIGKILL");
      await ended;
      const text = readFileSync(file, "utf8");
      expect(() => parseTrace(text)).toThrow();
      expect(parseTrace(text, true).events.length).toBeGreaterThan(100);
    }
  });
});

async function generateWith(trace: string) {
  const engine = await openTiny({ trace });
  const segment = engine.createSegment(fresh());
  await engine.run({ appends: [{ segment, tokens: ids(20) }], generate: greedy(60), logits: "none" });
  await engine.close();
}

describe("a file that cannot be written", () => {
  test("because of its folder, its kind or another process is an error that names path and reason", async () => {
    const refusals: [path: string, reason: RegExp][] = [
      [join(folder, "absent", "t.json"), /cannot be opened: No such file or directory/],
      [folder, /cannot be opened: Is a directory/],
      ["/dev/full", /is no regular file/],
    ];
    for (const [trace, reason] of refusals) {
      const error = await failure(openTiny({ trace }));
      expect(IoError.isInstance(error)).toBe(true);
      expect(error).toMatchObject({ facts: { path: trace }, message: expect.stringMatching(reason) });
    }
  });

  test("by two models of one process with two names: the second is refused, the first goes on", async () => {
    const first = await openTiny({ trace: file });
    const error = await failure(openTiny({ trace: join(folder, "other.json") }));
    expect(OptionInvalidError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ facts: { open: file } });
    await first.close();
    await generateWith(join(folder, "other.json"));
    expect(readTrace(file).events).toEqual([]);
    expect(readTrace(join(folder, "other.json")).events.length).toBeGreaterThan(0);
  });

  test("while another process writes it", async () => {
    const script = fileURLToPath(new URL("children/trace.mjs", import.meta.url));
    const other = spawn(process.execPath, [script, "forever"], {
      env: { ...process.env, BATON_TRACE: file },
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => other.stdout.once("data", resolve));
    const error = await failure(openTiny({ trace: file }));
    other.kill("SIGKILL");
    expect(error).toMatchObject({ code: "IO", message: expect.stringMatching(/another process.*%p/) });
  });

  test("any more because the disk is full: the work goes on, a BatonWarning says so, what is there parses", async (context) => {
    const disk = join(folder, "disk");
    mkdirSync(disk);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=16k", "tmpfs", disk]);
    if (mounted.status !== 0) context.skip("a tmpfs cannot be mounted here");
    const heard: Error[] = [];
    const listen = (warning: Error) => heard.push(warning);
    process.on("warning", listen);
    try {
      const full = join(disk, "t.json");
      await generateWith(full);
      await new Promise((resolve) => setImmediate(resolve));
      expect(heard).toHaveLength(1);
      expect(heard[0]).toMatchObject({ name: "BatonWarning", code: "TRACE_ENDED", facts: { path: full } });
      expect(heard[0]?.message).toMatch(/No space left on device/);
      expect(readTrace(full, true).events.length).toBeGreaterThan(10);
      await generateWith(file); // the next one is whole again
      expect(readTrace(file).events.length).toBeGreaterThan(1000);
    } finally {
      process.off("warning", listen);
      spawnSync("umount", [disk]);
    }
  });
});

test("without the variable there is no file", async () => {
  const engine = await openTiny(tinyOptions);
  await engine.close();
  expect(await runChild("trace.mjs", ["closed"])).toMatchObject({ code: 0 });
  expect(readdirSync(folder)).toEqual([]);
  expect(existsSync(file)).toBe(false);
});
