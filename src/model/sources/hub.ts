// SPDX-License-Identifier: Apache-2.0
// Files of the Hugging Face Hub, into its standard cache. Settings are those of its own tools: HF_TOKEN,
// HF_TOKEN_PATH, HF_ENDPOINT, HF_HUB_OFFLINE, HF_HUB_CACHE, HF_HOME, HF_HUB_ETAG_TIMEOUT and
// HF_HUB_DOWNLOAD_TIMEOUT (seconds without an answer, default 10).
//
// What is in the cache is used without asking the network; name another revision ("hf:...@revision") to get one.

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { downloadFile, fileDownloadInfo, HUB_URL, HubApiError, modelInfo, pathsInfo } from "@huggingface/hub";
import { IoError } from "../../errors.js";
import type { HubFile } from "../catalog.js";
import type { Found, Source, SourceContext, Wanted } from "./contract.js";
import { reasonOf } from "./contract.js";
import { HubCache, hubHome } from "./hub-cache.js";
import { withLock } from "./lock.js";
import { ioError, PartialFile, WrongBytes } from "./partial-file.js";

/** Connections that break are taken up where they broke. */
const maxAttempts = 4;

type Fetch = typeof fetch;

interface Access {
  hubUrl: string;
  accessToken?: string;
}

interface RemoteFile {
  commit: string;
  etag: string;
  bytes: number;
  /** Of large files only. */
  sha256: string | undefined;
}

const isOn = (value: string | undefined) => /^(1|on|yes|true)$/i.test(value ?? "");

function seconds(env: SourceContext["env"], name: string): number {
  const value = Number(env[name] || 10);
  return (Number.isFinite(value) && value > 0 ? value : 10) * 1000;
}

async function readAccess(env: SourceContext["env"]): Promise<Access> {
  const hubUrl = (env.HF_ENDPOINT || HUB_URL).replace(/\/+$/, "");
  const tokenPath = env.HF_TOKEN_PATH || join(hubHome(env), "token");
  const token = (env.HF_TOKEN || (await readFile(tokenPath, "utf8").catch(() => ""))).trim();
  if (token !== "" && !token.startsWith("hf_")) {
    throw new Error(
      'the access token (HF_TOKEN, or the token file) does not start with "hf_"; correct or unset it',
    );
  }
  return token === "" ? { hubUrl } : { hubUrl, accessToken: token };
}

/** `fetch` that also ends with `signal`. */
function endingWith(signal: AbortSignal): Fetch {
  return (input, init = {}) => {
    const signals = init.signal ? [init.signal, signal] : [signal];
    return fetch(input, { ...init, signal: AbortSignal.any(signals) });
  };
}

/** Says what an answer of the Hub means to the user. */
function explain(error: unknown, { repo, file, revision }: HubFile, { hubUrl, accessToken }: Access): Error {
  if (error instanceof HubApiError) {
    const what = `${repo}/${file}@${revision}`;
    if (error.statusCode === 401 || error.statusCode === 403) {
      const remedy = accessToken === undefined ? "set HF_TOKEN" : "the token in use has no access";
      return new Error(
        `${hubUrl} refused ${what} (${error.statusCode}): it is private, gated or misspelt; ${remedy}`,
      );
    }
    if (error.statusCode === 404) return new Error(`${hubUrl} has no ${what} (404)`);
    return new Error(`${hubUrl} answered ${error.statusCode} for ${what}: ${error.message}`);
  }
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return new Error(`${hubUrl} did not answer in time (HF_HUB_ETAG_TIMEOUT)`);
  }
  return new Error(`${hubUrl}: ${reasonOf(error)}`);
}

async function describe(hub: HubFile, access: Access, context: SourceContext): Promise<RemoteFile> {
  const limit = AbortSignal.timeout(seconds(context.env, "HF_HUB_ETAG_TIMEOUT"));
  const signal = context.signal === undefined ? limit : AbortSignal.any([limit, context.signal]);
  const common = { ...access, revision: hub.revision, fetch: endingWith(signal) };
  const { sha } = await modelInfo({ ...common, name: hub.repo, additionalFields: ["sha"] });
  const [info] = await pathsInfo({ ...common, repo: hub.repo, paths: [hub.file] });
  if (info === undefined || info.type !== "file") {
    throw new Error(`${access.hubUrl} has no file ${hub.file} in ${hub.repo}@${hub.revision}`);
  }
  const etag = info.lfs?.oid ?? info.oid ?? "";
  // Both become file names.
  if (!/^[0-9a-f]{40}$/.test(sha) || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag)) {
    throw new Error(`${access.hubUrl} answered with malformed ids (commit ${sha}, etag ${etag})`);
  }
  return { commit: sha, etag, bytes: info.size, sha256: info.lfs?.oid };
}

/** Ends a download that no longer delivers: `touch` at every sign of life. */
function watchdog(signal: AbortSignal | undefined, idleMs: number) {
  const controller = new AbortController();
  const error = new Error(`no data for ${idleMs / 1000} seconds (HF_HUB_DOWNLOAD_TIMEOUT)`);
  const timer = setTimeout(() => controller.abort(error), idleMs);
  return {
    signal: signal === undefined ? controller.signal : AbortSignal.any([controller.signal, signal]),
    touch: () => timer.refresh(),
    stop: () => clearTimeout(timer),
  };
}

/** Appends what is missing of `partial`. */
async function continueDownload(
  partial: PartialFile,
  hub: HubFile,
  remote: RemoteFile,
  access: Access,
  context: SourceContext,
): Promise<void> {
  const watch = watchdog(context.signal, seconds(context.env, "HF_HUB_DOWNLOAD_TIMEOUT"));
  try {
    const common = { ...access, repo: hub.repo, path: hub.file, revision: remote.commit };
    const fetchNow = endingWith(watch.signal);
    const info = await fileDownloadInfo({ ...common, fetch: fetchNow });
    if (info === null) throw new Error(`${hub.file} has gone from ${hub.repo}@${remote.commit}`);
    if (info.size !== remote.bytes)
      throw new WrongBytes(`${info.size} bytes offered instead of ${remote.bytes}`);
    const blob = await downloadFile({ ...common, fetch: fetchNow, downloadInfo: info });
    const rest = partial.bytes === 0 ? blob : blob?.slice(partial.bytes);
    if (!rest) throw new Error(`${hub.file} has gone from ${hub.repo}@${remote.commit}`);
    for await (const chunk of rest.stream() as unknown as AsyncIterable<Uint8Array>) {
      watch.touch();
      watch.signal.throwIfAborted();
      await partial.write(chunk);
      context.progress("download", partial.bytes, remote.bytes, hub.file);
    }
    if (partial.bytes < remote.bytes) {
      throw new Error(`the connection ended after ${partial.bytes} of ${remote.bytes} bytes`);
    }
  } catch (error) {
    if (watch.signal.aborted) throw watch.signal.reason;
    throw error;
  } finally {
    watch.stop();
  }
}

async function download(
  path: string,
  hub: HubFile,
  remote: RemoteFile,
  access: Access,
  context: SourceContext,
): Promise<void> {
  const partial = await PartialFile.open(path, remote);
  try {
    for (let attempt = 1; ; attempt++) {
      const before = partial.bytes;
      try {
        if (partial.bytes < remote.bytes) await continueDownload(partial, hub, remote, access, context);
        await partial.finish();
        return;
      } catch (error) {
        const hopeless = IoError.isInstance(error) || error instanceof HubApiError || context.signal?.aborted;
        if (hopeless || attempt === maxAttempts) throw error;
        if (error instanceof WrongBytes) {
          // Continued bytes may not fit together: once more from the start. Fresh ones are the server's fault.
          if (before === 0) throw error;
          await partial.restart();
        } else if (partial.bytes === before && attempt > 1) throw error;
      }
    }
  } catch (error) {
    if (error instanceof WrongBytes) await partial.discard();
    else await partial.keep();
    throw error;
  }
}

function checkOffer(remote: RemoteFile, { bytes, sha256 }: Wanted, hub: HubFile): void {
  const where = `${hub.repo}/${hub.file}@${hub.revision}`;
  if (sha256 !== undefined && remote.sha256 !== undefined && remote.sha256 !== sha256) {
    throw new Error(`${where} has SHA-256 ${remote.sha256} instead of ${sha256}: not the same file`);
  }
  if (bytes !== undefined && remote.bytes !== bytes) {
    throw new Error(`${where} has ${remote.bytes} bytes instead of ${bytes}: not the same file`);
  }
}

async function fetchFile(wanted: Wanted, context: SourceContext): Promise<Found> {
  const hub = wanted.hub as HubFile;
  if (isOn(context.env.HF_HUB_OFFLINE)) {
    throw new Error("HF_HUB_OFFLINE is set and the file is not in the cache");
  }
  const access = await readAccess(context.env);
  try {
    const remote = await describe(hub, access, context);
    checkOffer(remote, wanted, hub);
    const sha256 = wanted.sha256 ?? remote.sha256;
    const cache = new HubCache(context.env, hub);
    const blob = cache.blobPath(remote.etag);
    const onWait = () => context.progress("wait", 0, remote.bytes, "another process is fetching this file");
    const path = await withLock(cache.lockPath(remote.etag), context.signal, onWait, async () => {
      const there = await stat(blob).catch(() => null);
      if (there?.size !== remote.bytes) await download(blob, hub, { ...remote, sha256 }, access, context);
      return await cache.place(remote.etag, remote.commit);
    }).catch(async (error: unknown) => {
      throw isSystemError(error) ? await ioError(error, blob, remote.bytes) : error;
    });
    return { path, bytes: remote.bytes, ...(sha256 === undefined ? {} : { sha256 }) };
  } catch (error) {
    if (context.signal?.aborted) throw context.signal.reason;
    if (IoError.isInstance(error)) throw error;
    throw explain(error, hub, access);
  }
}

/** Has an errno code and a syscall: comes from the file system (network errors hide theirs in `cause`). */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error && "path" in error;
}

export const hubSource: Source = {
  name: "hub",
  applies: (wanted) => wanted.hub !== undefined,
  lookup: (wanted, context) => new HubCache(context.env, wanted.hub as HubFile).lookup(wanted),
  fetch: fetchFile,
};
