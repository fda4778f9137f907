// SPDX-License-Identifier: Apache-2.0
// The Hub's path, with the real client against a server on loopback: what it leaves on disk, and every way in which a
// network can fail. A file under its final name is always whole.
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { scanCacheDir } from "@huggingface/hub";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BatonError } from "../../src/errors.js";
import type { ResolveOptions, SourceProgress } from "../../src/model/source.js";
import { resolveModel } from "../../src/model/source.js";
import type { SourceContext } from "../../src/model/sources/contract.js";
import { hubSource } from "../../src/model/sources/hub.js";
import { commit, HubServer, openable, repo } from "./hub-server.js";

const file = "model.gguf";
const size = 1_500_000;
const name = `hf:${repo}/${file}`;
const bytes = randomBytes(size);

let server: HubServer;
let folder: string;
let env: Record<string, string>;

beforeEach(async () => {
  server = await HubServer.start(file, bytes);
  folder = await mkdtemp(join(tmpdir(), "baton-hub-"));
  env = { HF_ENDPOINT: server.endpoint, HF_HOME: folder };
});

afterEach(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

const storage = () => join(folder, "hub", "models--acme--tiny");
const resolve = (options: ResolveOptions = {}) => resolveModel(name, { env, ...options });

async function failure(promise: Promise<unknown>): Promise<BatonError> {
  const error = await promise.then(
    () => new Error("nothing was thrown"),
    (caught: unknown) => caught,
  );
  if (BatonError.isInstance(error)) return error as BatonError;
  throw error;
}

/** Compares without printing megabytes. */
const expectWhole = async (path: string) => expect((await readFile(path)).equals(bytes)).toBe(true);

/** Names of the files under the blobs folder. */
const blobs = () => readdir(join(storage(), "blobs")).catch(() => []);
const contentRanges = () => {
  const content = server.requests.filter((one) => one.server === "content" && one.range !== "bytes=0-0");
  return content.map((one) => one.range ?? "whole");
};

describe("a download", () => {
  it("lands in the standard cache, is found again without a request, and reports progress", async () => {
    const seen: SourceProgress[] = [];
    const found = await resolve({ onProgress: (progress) => seen.push(progress) });
    expect(found).toMatchObject({
      name,
      source: "hub",
      bytes: size,
      sha256: server.sha256,
      downloaded: true,
    });
    await expectWhole(found.path);
    expect(found.path).toBe(join(storage(), "snapshots", commit, file));
    expect(await readlink(found.path)).toBe(`../../blobs/${server.sha256}`);
    expect(await readFile(join(storage(), "refs", "main"), "utf8")).toBe(commit);
    expect(await blobs()).toEqual([server.sha256]);
    expect(seen[0]).toMatchObject({ source: "hub", phase: "start" });
    expect(seen.at(-1)).toMatchObject({ source: "hub", phase: "done", done: size });
    expect(seen.some((one) => one.phase === "download" && one.total === size)).toBe(true);

    const scanned = await scanCacheDir(join(folder, "hub"));
    expect(scanned.warnings).toEqual([]);
    expect(scanned.repos[0]?.revisions[0]).toMatchObject({ commitOid: commit, refs: ["main"], size });

    const before = server.requests.length;
    expect(await resolve()).toMatchObject({ path: found.path, downloaded: false });
    expect(await resolve({ env: { ...env, HF_HUB_OFFLINE: "1" } })).toMatchObject({ path: found.path });
    expect(server.requests.length).toBe(before);
  });

  it("keeps the folders of the repository", async () => {
    const nested = await HubServer.start("sub/deep/x.gguf", bytes.subarray(0, 1000));
    const options = { env: { ...env, HF_ENDPOINT: nested.endpoint } };
    const found = await resolveModel(`hf:${repo}/sub/deep/x.gguf`, options).finally(() => nested.stop());
    expect(found.path).toBe(join(storage(), "snapshots", commit, "sub/deep/x.gguf"));
    expect((await readFile(found.path)).equals(bytes.subarray(0, 1000))).toBe(true);
  });

  it("happens once when four ask at once", async () => {
    const all = await Promise.all([resolve(), resolve(), resolve(), resolve()]);
    expect(new Set(all.map((one) => one.path)).size).toBe(1);
    expect(server.contentBytes).toBe(size);
  });

  it("sends the token to the Hub and never to another origin", async () => {
    server.faults.token = "hf_secret";
    const refused = await failure(resolve());
    expect(refused.code).toBe("SOURCE_FAILED");
    expect(refused.message).toMatch(/401.*set HF_TOKEN/);
    await resolve({ env: { ...env, HF_TOKEN: "hf_secret" } });
    const sent = server.requests.filter((one) => one.authorization !== undefined);
    expect(sent.length).toBeGreaterThan(2);
    expect(sent.every((one) => one.server === "hub" && one.authorization === "Bearer hf_secret")).toBe(true);
  });

  it("takes the token from the token file, and refuses one that is none", async () => {
    server.faults.token = "hf_filed";
    await writeFile(join(folder, "token"), "hf_filed\n");
    expect((await resolve()).downloaded).toBe(true);
    const wrong = await failure(
      resolveModel(`hf:${repo}/other.gguf`, { env: { ...env, HF_TOKEN: "secret" } }),
    );
    expect(wrong.message).toContain('does not start with "hf_"');
    expect(wrong.message).not.toContain("secret;");
  });
});

describe("a broken connection", () => {
  it("is taken up where it broke", async () => {
    server.faults.cutAfter = [400_000, 500_000, size];
    const found = await resolve();
    await expectWhole(found.path);
    expect(contentRanges()[0]).toBe("whole");
    expect(
      contentRanges()
        .slice(1)
        .every((range) => /^bytes=[1-9]\d*-1499999$/.test(range)),
    ).toBe(true);
    expect(contentRanges().length).toBe(3);
  });

  it("that never gets better fails, leaves no complete file, and the next call goes on from there", async () => {
    server.faults.cutAfter = [200_000];
    const error = await failure(resolve());
    expect(error.code).toBe("SOURCE_FAILED");
    expect(error.facts.sources).toHaveLength(1);
    const left = await blobs();
    expect(left).toEqual([`${server.sha256}.baton-incomplete`]);
    const partial = (await stat(join(storage(), "blobs", left[0] as string))).size;
    expect(partial).toBeGreaterThan(0);
    expect(partial).toBeLessThan(size);

    server.faults = {};
    server.requests.length = 0;
    const found = await resolve();
    await expectWhole(found.path);
    expect(contentRanges()).toEqual([`bytes=${partial}-1499999`]);
    expect(await blobs()).toEqual([server.sha256]);
  });

  it("continued on a damaged remainder starts again from nothing", async () => {
    server.faults.cutAfter = [200_000];
    await failure(resolve());
    const [left = ""] = await blobs();
    const path = join(storage(), "blobs", left);
    const damaged = await readFile(path);
    damaged[7] = (damaged[7] as number) ^ 255;
    await writeFile(path, damaged);
    server.faults = {};
    await expectWhole((await resolve()).path);
  });

  it("continued at a server that ignores ranges starts again from nothing", async () => {
    server.faults = { cutAfter: [300_000, size], ignoreRange: true };
    await expectWhole((await resolve()).path);
  });

  it("that stalls ends after the time set for it", async () => {
    server.faults.stallAfter = 100_000;
    const error = await failure(resolve({ env: { ...env, HF_HUB_DOWNLOAD_TIMEOUT: "0.3" } }));
    expect(error.message).toContain("no data for 0.3 seconds");
    expect(await blobs()).toEqual([`${server.sha256}.baton-incomplete`]);
  });
});

describe("an answer that is no file", () => {
  it("of wrong bytes is refused with both hashes, and nothing is left", async () => {
    server.faults.wrongBytes = randomBytes(size);
    const error = await failure(resolve());
    expect(error.code).toBe("SOURCE_FAILED");
    expect(error.message).toMatch(/SHA-256 is [0-9a-f]{64} instead of/);
    expect(error.message).toContain(server.sha256);
    expect(await blobs()).toEqual([]);
  });

  it("of another length is refused", async () => {
    server.faults.wrongBytes = randomBytes(size - 1);
    const error = await failure(resolve());
    expect(error.message).toContain(`${size - 1} bytes offered instead of ${size}`);
    expect(await blobs()).toEqual([]);
  });

  it("for another file than the catalogue's is refused before a byte is loaded", async () => {
    const context: SourceContext = { signal: undefined, progress: () => {}, env, cacheDir: folder };
    const wanted = { name: "x", hub: { repo, file, revision: "main" }, sha256: "f".repeat(64) };
    await expect(hubSource.fetch?.(wanted, context)).rejects.toThrow(/not the same file/);
    await expect(hubSource.fetch?.({ ...wanted, sha256: server.sha256, bytes: 5 }, context)).rejects.toThrow(
      /1500000 bytes instead of 5/,
    );
    expect(server.contentBytes).toBe(0);
  });

  it.each([403, 404, 500])("%s names status and file", async (status) => {
    server.faults.status = status;
    const error = await failure(resolve());
    expect(error.code).toBe("SOURCE_FAILED");
    expect(error.message).toContain(String(status));
    expect(error.message).toContain(file);
  });

  it("without the file or the repository says so", async () => {
    const noFile = await failure(resolveModel(`hf:${repo}/none.gguf`, { env }));
    expect(noFile.message).toContain("no file none.gguf");
    const noRepo = await failure(resolveModel("hf:acme/other/x.gguf", { env }));
    expect(noRepo.message).toContain("404");
  });

  it("that never comes ends after the time set for it", async () => {
    server.faults.silent = true;
    const error = await failure(resolve({ env: { ...env, HF_HUB_ETAG_TIMEOUT: "0.3" } }));
    expect(error.message).toContain("did not answer in time");
  });

  it("from a closed port is a reason", async () => {
    const error = await failure(resolve({ env: { ...env, HF_ENDPOINT: "http://127.0.0.1:1" } }));
    expect(error.message).toContain("http://127.0.0.1:1");
  });

  it("is not even asked for offline", async () => {
    const error = await failure(resolve({ env: { ...env, HF_HUB_OFFLINE: "true" } }));
    expect(error.message).toContain("HF_HUB_OFFLINE");
    expect(server.requests).toEqual([]);
  });
});

describe("an abort", () => {
  it("ends the download with the signal's reason and leaves what can be continued", async () => {
    const { gate, open } = openable();
    server.faults.gate = gate;
    const controller = new AbortController();
    const reason = new Error("enough");
    const promise = resolve({
      signal: controller.signal,
      onProgress: ({ phase, done }) => {
        if (phase === "download" && done > 0) controller.abort(reason);
      },
    });
    await expect(promise).rejects.toBe(reason);
    open();
    expect(await blobs()).toEqual([`${server.sha256}.baton-incomplete`]);
    server.faults = {};
    await expectWhole((await resolve()).path);
  });

  it("before the start asks nobody", async () => {
    const reason = new Error("never mind");
    await expect(resolve({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(server.requests).toEqual([]);
  });

  it("is heard while the Hub is silent and while another process holds the lock", async () => {
    server.faults.silent = true;
    const reason = new Error("enough");
    const first = new AbortController();
    const asked = resolve({ signal: first.signal });
    setTimeout(() => first.abort(reason), 50);
    await expect(asked).rejects.toBe(reason);

    const { gate, open } = openable();
    server.faults = { gate };
    const downloading = openable();
    const holding = resolve({ onProgress: ({ phase }) => phase === "download" && downloading.open() });
    await downloading.gate;
    const second = new AbortController();
    const waiting = resolve({
      signal: second.signal,
      onProgress: ({ phase }) => {
        if (phase === "wait") second.abort(reason);
      },
    });
    await expect(waiting).rejects.toBe(reason);
    open();
    await expectWhole((await holding).path);
  });
});
