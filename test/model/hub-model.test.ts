// SPDX-License-Identifier: Apache-2.0
// Whole models of the Hub, with the real client against a server on loopback: which files are fetched, what is said
// when a repository has several models or half of one, and that half a model is never found.
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { scanCacheDir } from "@huggingface/hub";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BatonError } from "../../src/errors.js";
import { loadModel } from "../../src/index.js";
import type { ResolveOptions, SourceProgress } from "../../src/model/source.js";
import { resolveModel } from "../../src/model/source.js";
import { exact } from "../engine/support.js";
import { fixturePath } from "../helpers/fixtures.js";
import { commit, HubServer, repo } from "./hub-server.js";

const read = (folder: string) =>
  Object.fromEntries(
    readdirSync(fixturePath(folder)).map((name) => [name, readFileSync(join(fixturePath(folder), name))]),
  );
const sharded = read("tiny-hf/model");
const single = read("families-hf/gemma3");
const index = "model.safetensors.index.json";
const shard = "model-00002-of-00003.safetensors";
const gguf = readFileSync(fixturePath("tiny-llama/tiny-q4_0.gguf"));
/** What nobody needs. */
const other = {
  "README.md": Buffer.from("# Tiny"),
  "pytorch_model.bin": Buffer.alloc(70_000, 1),
  "consolidated.00.pth": Buffer.alloc(70_000, 2),
  "onnx/model.onnx": Buffer.alloc(70_000, 3),
  "tokenizer.model": Buffer.alloc(100, 4),
};

let server: HubServer;
let folder: string;
let env: Record<string, string>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-hub-model-"));
});
afterEach(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

async function serve(files: Readonly<Record<string, Buffer>>): Promise<void> {
  const [[file, bytes] = ["", Buffer.alloc(0)], ...more] = Object.entries(files);
  server = await HubServer.start(file, bytes, Object.fromEntries(more));
  env = { HF_ENDPOINT: server.endpoint, HF_HOME: folder };
}

const snapshot = () => join(folder, "hub", "models--acme--tiny", "snapshots", commit);
const resolve = (name = `hf:${repo}`, options: ResolveOptions = {}) =>
  resolveModel(name, { env, ...options });
const failure = (name?: string, options?: ResolveOptions) =>
  resolve(name, options).then(
    () => Promise.reject(new Error("nothing was thrown")),
    (error: BatonError) => error,
  );
const without = (files: Readonly<Record<string, Buffer>>, name: string) =>
  Object.fromEntries(Object.entries(files).filter(([one]) => one !== name));
const bytesOf = (files: Readonly<Record<string, Buffer>>, names: readonly string[]) =>
  names.reduce((sum, name) => sum + (files[name]?.length ?? 0), 0);
const shards = Object.keys(sharded).filter((name) => /-of-/.test(name));

describe("a sharded model", () => {
  it("is loaded like the folder that was published", async () => {
    await serve({ ...sharded, ...other });
    const wanted = await loadModel(fixturePath("tiny-hf/model"), exact);
    const model = await loadModel(`hf:${repo}`, { ...exact, env });
    try {
      expect(model.info.contentHash).toBe(wanted.info.contentHash);
      expect(model.path).toBe(snapshot());
      expect(model.template().source).toBe(wanted.template().source);
    } finally {
      await model.close();
      await wanted.close();
    }
  });

  it("is what it is made of and nothing else, fetched once, with progress over all of it", async () => {
    await serve({ ...sharded, ...other });
    const seen: SourceProgress[] = [];
    const found = await resolve(undefined, { onProgress: (one) => seen.push(one) });
    const bytes = bytesOf(sharded, shards);
    expect(found).toMatchObject({ source: "hub", path: snapshot(), bytes, downloaded: true });
    expect((await readdir(snapshot())).sort()).toEqual(Object.keys(sharded).sort());
    const total = bytesOf(sharded, Object.keys(sharded));
    expect(server.contentBytes).toBe(total);
    const counts = seen.filter((one) => one.phase === "download" && one.total !== undefined);
    expect(counts.every((one) => one.total === total)).toBe(true);
    expect(counts.map((one) => one.done)).toEqual(counts.map((one) => one.done).sort((a, b) => a - b));
    expect(counts.at(-1)?.done).toBe(total);
    // other tools read the same cache
    const scanned = await scanCacheDir(join(folder, "hub"));
    expect(scanned.warnings).toEqual([]);
    expect(scanned.repos[0]?.revisions[0]).toMatchObject({ commitOid: commit, refs: ["main"], size: total });

    const before = server.requests.length;
    for (const more of [{}, { HF_HUB_OFFLINE: "1" }]) {
      const again = await resolve(undefined, { env: { ...env, ...more } });
      expect(again).toMatchObject({ path: snapshot(), bytes, downloaded: false });
    }
    expect(server.requests.length).toBe(before);
  });

  it("without a shard in the repository is refused before a shard is loaded", async () => {
    await serve({ ...without(sharded, shard), ...other });
    const error = await failure();
    expect(error.code).toBe("SOURCE_FAILED");
    expect(error.message).toContain(`names ${shard}, which the repository does not have`);
    expect(server.requests.some((one) => one.url.includes("-of-"))).toBe(false);
  });

  it("with a shard that breaks off is not found, and the next call fetches what is missing", async () => {
    await serve(sharded);
    server.faults = { of: shard, cutAfter: [30_000] };
    const error = await failure();
    expect(error.code).toBe("SOURCE_FAILED");
    expect(await failure(undefined, { env: { ...env, HF_HUB_OFFLINE: "1" } })).toMatchObject({
      message: expect.stringContaining("the model is not in the cache"),
    });
    server.faults = {};
    server.requests.length = 0;
    expect((await resolve()).downloaded).toBe(true);
    const ranges = server.requests.filter((one) => one.server === "content" && one.range !== "bytes=0-0");
    expect(ranges.map(({ url, range }) => [url.split("/").at(-1), range !== undefined])).toEqual([
      [shard, true],
      ["model-00003-of-00003.safetensors", false],
    ]);
    const model = await loadModel(`hf:${repo}`, { ...exact, env });
    await model.close();
  });

  it("with a shard of other bytes is refused with both hashes", async () => {
    await serve(sharded);
    server.faults = { of: shard, wrongBytes: Buffer.alloc(sharded[shard]?.length ?? 0) };
    expect((await failure()).message).toMatch(/SHA-256 is [0-9a-f]{64} instead of/);
    server.faults = { of: shard, wrongBytes: Buffer.alloc(10) };
    expect((await failure()).message).toContain("10 bytes offered instead of");
  });

  it("that lost a file is fetched again, and only that file", async () => {
    await serve(sharded);
    await resolve();
    await unlink(join(snapshot(), shard));
    const before = server.contentBytes;
    expect(await resolve()).toMatchObject({ downloaded: true });
    expect(server.contentBytes).toBe(before); // its content was there all the time
    expect(await resolve()).toMatchObject({ downloaded: false });
  });

  it("happens once when three ask at once", async () => {
    await serve(sharded);
    const all = await Promise.all([resolve(), resolve(), resolve()]);
    expect(new Set(all.map((one) => one.path)).size).toBe(1);
    expect(server.contentBytes).toBe(bytesOf(sharded, Object.keys(sharded)));
  });

  it("is ended by the signal, with its reason", async () => {
    await serve(sharded);
    const controller = new AbortController();
    const reason = new Error("enough");
    const onProgress = ({ phase }: SourceProgress) => {
      if (phase === "download") controller.abort(reason); // the index is there, its shards are not
    };
    await expect(resolve(undefined, { signal: controller.signal, onProgress })).rejects.toBe(reason);
    expect((await resolve()).downloaded).toBe(true);
  });

  it.each(["{", "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../x.safetensors"}}'])(
    "with %s as its index is refused",
    async (text) => {
      await serve({ ...sharded, [index]: Buffer.from(text) });
      expect((await failure()).message).toMatch(/index\.json (is not JSON|has no weight_map)/);
    },
  );
});

describe("a model in one file", () => {
  it("brings its folder with it, by any of its names", async () => {
    await serve({ ...single, ...other });
    for (const name of [`hf:${repo}`, `hf:${repo}/model.safetensors`, `hf:${repo}/config.json@main`]) {
      const found = await resolve(name);
      expect(found.path).toBe(join(snapshot(), "model.safetensors"));
      expect((await readdir(snapshot())).sort()).toEqual(Object.keys(single).sort());
      expect((await resolve(name)).downloaded).toBe(false);
    }
    const model = await loadModel(`hf:${repo}`, { ...exact, env });
    expect(model.info.family).toBe("gemma3");
    await model.close();
  });

  it("in a folder of the repository is meant by its path", async () => {
    const nested = Object.entries(single).map(([name, bytes]) => [`sub/deep/${name}`, bytes]);
    const more = { "sub/deep/additional_chat_templates/rag.jinja": Buffer.from("x") };
    await serve({ ...Object.fromEntries(nested), ...more, ...sharded });
    const found = await resolve(`hf:${repo}/sub/deep/model.safetensors`);
    expect(found.path).toBe(join(snapshot(), "sub", "deep", "model.safetensors"));
    expect(await readdir(snapshot())).toEqual(["sub"]);
    expect(await readdir(join(snapshot(), "sub/deep/additional_chat_templates"))).toEqual(["rag.jinja"]);
    expect((await failure(`hf:${repo}/sub/config.json`)).message).toContain("no sub/model.safetensors");
  });

  it.each(["config.json", "tokenizer.json"])("without %s is refused by its name", async (name) => {
    await serve({ ...without(single, name), ...other });
    expect((await failure()).message).toContain(`no ${name}`);
    expect(server.contentBytes).toBe(0);
  });

  it("that other tools have put into the cache is used when nobody may be asked", async () => {
    await serve(single);
    await resolve();
    await rm(join(folder, "hub", "models--acme--tiny", "baton-models"), { recursive: true });
    const found = await resolve(undefined, { env: { ...env, HF_HUB_OFFLINE: "1" } });
    expect(found).toMatchObject({ path: join(snapshot(), "model.safetensors"), downloaded: false });
    await unlink(join(snapshot(), "tokenizer.json"));
    const error = await failure(undefined, { env: { ...env, HF_HUB_OFFLINE: "1" } });
    expect(error.message).toContain("HF_HUB_OFFLINE is set");
  });
});

describe("a repository with more or less than one model", () => {
  it("as safetensors and as GGUF: an error with the names of both, and each is loaded by its name", async () => {
    await serve({ ...sharded, "tiny.q4_0.gguf": gguf });
    const { code, message } = await failure();
    expect(code).toBe("SOURCE_FAILED");
    const names = [`hf:${repo}/${index}`, `hf:${repo}/tiny.q4_0.gguf`];
    for (const name of names) expect(message).toContain(`"${name}"`);
    expect(server.contentBytes).toBe(0);
    const formats = [];
    for (const name of names) {
      const model = await loadModel(name, { ...exact, env });
      formats.push(model.info.weightType);
      await model.close();
    }
    expect(formats).toEqual(["BF16", "Q4_0"]);
    expect((await failure()).message).toContain("say which"); // whatever the cache has by now
  });

  it("with one GGUF file: that one; with several: an error that names them", async () => {
    await serve({ "a/tiny.Q4_0.gguf": gguf, ...other });
    expect((await resolve()).path).toBe(join(snapshot(), "a", "tiny.Q4_0.gguf"));
    expect(await resolve()).toMatchObject({ bytes: gguf.length, downloaded: false });
    await server.stop();
    await rm(folder, { recursive: true });
    await serve({ "tiny.Q4_0.gguf": gguf, "tiny.Q8_0.gguf": gguf });
    expect((await failure()).message).toMatch(/2 GGUF files .*tiny.Q8_0.gguf.*name one/);
  });

  it("with neither: an error that says what is there", async () => {
    await serve({ ...other, "adapter_model.safetensors": Buffer.alloc(10) });
    const { message } = await failure();
    expect(message).toContain("neither GGUF nor model.safetensors");
    expect(message).toContain("pytorch_model.bin");
  });

  it("whose paths lead elsewhere: they are not there", async () => {
    await serve({ "../../../x.gguf": gguf });
    expect((await failure()).message).toContain("neither GGUF");
  });

  it("that is not there, or does not answer, is a reason", async () => {
    await serve(single);
    expect((await failure("hf:acme/none")).message).toContain("404");
    server.faults.status = 403;
    expect((await failure()).message).toContain("403");
    server.faults = { silent: true };
    const slow = await failure(undefined, { env: { ...env, HF_HUB_ETAG_TIMEOUT: "0.3" } });
    expect(slow.message).toContain("did not answer in time");
    expect((await failure(undefined, { env: { ...env, HF_HUB_OFFLINE: "1" } })).message).toContain(
      "not in the",
    );
  });
});
