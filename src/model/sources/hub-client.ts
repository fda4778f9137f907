// SPDX-License-Identifier: Apache-2.0
// How the Hugging Face Hub is asked. Settings are those of its own tools: HF_TOKEN, HF_TOKEN_PATH, HF_ENDPOINT,
// HF_HUB_OFFLINE, HF_HOME, HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT (seconds without an answer, default 10).

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type * as Hub from "@huggingface/hub";
import type { HubFile } from "../catalog.js";
import type { SourceContext } from "./contract.js";
import { isSafePath, reasonOf } from "./contract.js";
import { hubHome } from "./hub-cache.js";

type Fetch = typeof fetch;

/** The Hub's own library, which is large: the first question to the Hub loads it. */
export const hubLibrary = (): Promise<typeof Hub> => import("@huggingface/hub");

export interface Access {
  hubUrl: string;
  accessToken?: string;
}

export interface RemoteFile {
  commit: string;
  etag: string;
  bytes: number;
  /** Of large files only. */
  sha256: string | undefined;
}

export const isOffline = (env: SourceContext["env"]) => /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? "");

export function seconds(env: SourceContext["env"], name: string): number {
  const value = Number(env[name] || 10);
  return (Number.isFinite(value) && value > 0 ? value : 10) * 1000;
}

export async function readAccess(env: SourceContext["env"]): Promise<Access> {
  const hubUrl = (env.HF_ENDPOINT || (await hubLibrary()).HUB_URL).replace(/\/+$/, "");
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
export function endingWith(signal: AbortSignal): Fetch {
  return (input, init = {}) => {
    const signals = init.signal ? [init.signal, signal] : [signal];
    return fetch(input, { ...init, signal: AbortSignal.any(signals) });
  };
}

/** Says what an answer of the Hub means to the user. */
export async function explain(error: unknown, what: string, { hubUrl, accessToken }: Access): Promise<Error> {
  const { HubApiError } = await hubLibrary();
  if (error instanceof HubApiError) {
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

/** What every question about a repository has: who asks, and until when. */
function question(access: Access, context: SourceContext) {
  const limit = AbortSignal.timeout(seconds(context.env, "HF_HUB_ETAG_TIMEOUT"));
  const signal = context.signal === undefined ? limit : AbortSignal.any([limit, context.signal]);
  return { ...access, fetch: endingWith(signal) };
}

interface Listed {
  size: number;
  oid?: string | undefined;
  lfs?: { oid: string } | undefined;
}

/** Commit and etag become names of files: throws for what is neither. */
function remoteOf({ size, oid, lfs }: Listed, commit: string, { hubUrl }: Access): RemoteFile {
  const etag = lfs?.oid ?? oid ?? "";
  if (!/^[0-9a-f]{40}$/.test(commit) || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag)) {
    throw new Error(`${hubUrl} answered with malformed ids (commit ${commit}, etag ${etag})`);
  }
  return { commit, etag, bytes: size, sha256: lfs?.oid };
}

export async function describeFile(
  hub: HubFile,
  access: Access,
  context: SourceContext,
): Promise<RemoteFile> {
  const { modelInfo, pathsInfo } = await hubLibrary();
  const common = { ...question(access, context), revision: hub.revision };
  const { sha } = await modelInfo({ ...common, name: hub.repo, additionalFields: ["sha"] });
  const [info] = await pathsInfo({ ...common, repo: hub.repo, paths: [hub.file] });
  if (info === undefined || info.type !== "file") {
    throw new Error(`${access.hubUrl} has no file ${hub.file} in ${hub.repo}@${hub.revision}`);
  }
  return remoteOf(info, sha, access);
}

export interface Listing {
  commit: string;
  /** Of all files, by path. */
  sizes: ReadonlyMap<string, number>;
  /** Throws for a path that is not listed. */
  file(path: string): RemoteFile;
}

/** All files of a repository at the commit that `revision` is now. */
export async function listRepository(
  { repo, revision }: { repo: string; revision: string },
  access: Access,
  context: SourceContext,
): Promise<Listing> {
  const { listFiles, modelInfo } = await hubLibrary();
  const common = question(access, context);
  const { sha } = await modelInfo({ ...common, revision, name: repo, additionalFields: ["sha"] });
  const files = new Map<string, Listed>();
  for await (const entry of listFiles({ ...common, repo, revision: sha, recursive: true })) {
    if (entry.type === "file" && isSafePath(entry.path)) files.set(entry.path, entry);
  }
  return {
    commit: sha,
    sizes: new Map([...files].map(([path, { size }]) => [path, size])),
    file(path) {
      const listed = files.get(path);
      if (listed === undefined)
        throw new Error(`${access.hubUrl} has no file ${path} in ${repo}@${revision}`);
      return remoteOf(listed, sha, access);
    },
  };
}
