// SPDX-License-Identifier: Apache-2.0
// Several processes and one file: one download, everybody gets it, and a process that is killed in the middle leaves
// nothing that looks complete and nothing that stops the next one.
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { HubServer, openable, repo } from "./hub-server.js";
import { PullProgram } from "./pull-process.js";

const size = 3_000_000;
const bytes = randomBytes(size);
const name = `hf:${repo}/model.gguf`;

let program: PullProgram;
let server: HubServer;
let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  program = await PullProgram.compile();
});
afterAll(() => program.remove());

beforeEach(async () => {
  server = await HubServer.start("model.gguf", bytes);
  folder = await mkdtemp(join(tmpdir(), "baton-pull-"));
  env = { HF_ENDPOINT: server.endpoint, HF_HOME: folder, HF_HUB_DOWNLOAD_TIMEOUT: "100" };
});

afterEach(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

const blobs = () => readdir(join(folder, "hub/models--acme--tiny/blobs"));

it("three processes at once download once", async () => {
  const { gate, open } = openable();
  server.faults.gate = gate;
  const started = [1, 2, 3].map(() => program.start(name, env, folder));
  // Two of them wait before the third may go on.
  let waiting = 0;
  for (const one of started) void one.phase("wait").then(() => ++waiting === 2 && open());
  const results = await Promise.all(started.map((one) => one.result));
  for (const { answer } of results) {
    expect(answer, JSON.stringify(answer)).toMatchObject({ bytes: size, sha256: server.sha256 });
    expect((await readFile(answer.path as string)).equals(bytes)).toBe(true);
  }
  expect(server.contentBytes).toBe(size);
  expect(results.filter(({ phases }) => phases.includes("download")).length).toBe(1);
  expect(results.filter(({ phases }) => phases.includes("wait")).length).toBe(2);
  expect(await blobs()).toEqual([server.sha256]);
});

it("what a killed process leaves is not taken for complete, and the next one goes on from it", async () => {
  const { gate, open } = openable();
  server.faults.gate = gate;
  const victim = program.start(name, env, folder);
  await victim.phase("download");
  victim.child.kill("SIGKILL");
  await victim.result;
  open();
  const left = await blobs();
  expect(left).toEqual([`${server.sha256}.${victim.child.pid}.baton-incomplete`]);

  server.faults = {};
  server.requests.length = 0;
  const { answer } = await program.start(name, env, folder).result;
  expect(answer, JSON.stringify(answer)).toMatchObject({ bytes: size, downloaded: true });
  expect((await readFile(answer.path as string)).equals(bytes)).toBe(true);
  expect(await blobs()).toEqual([server.sha256]);
  const content = server.requests.filter((one) => one.server === "content" && one.range !== "bytes=0-0");
  const ranges = content.map((one) => one.range);
  expect(ranges).toHaveLength(1);
  expect(ranges[0]).toMatch(/^bytes=[1-9]\d*-2999999$/);
});

it("a process that waits for a killed one takes over", async () => {
  const { gate, open } = openable();
  server.faults.gate = gate;
  const victim = program.start(name, env, folder);
  await victim.phase("download");
  const heir = program.start(name, env, folder);
  await heir.phase("wait");
  victim.child.kill("SIGKILL");
  open();
  const { answer } = await heir.result;
  expect(answer, JSON.stringify(answer)).toMatchObject({ bytes: size, downloaded: true });
  expect((await readFile(answer.path as string)).equals(bytes)).toBe(true);
  expect(await blobs()).toEqual([server.sha256]);
});
