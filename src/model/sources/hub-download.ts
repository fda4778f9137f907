// SPDX-License-Identifier: Apache-2.0
// One file of the Hub into its cache: under a lock, taken up where it broke, checked before it gets its name.

import { stat } from "node:fs/promises";
import { IoError } from "../../errors.js";
import type { HubFile } from "../catalog.js";
import type { SourceContext } from "./contract.js";
import type { HubCache } from "./hub-cache.js";
import type { Access, RemoteFile } from "./hub-client.js";
import { endingWith, hubLibrary, seconds } from "./hub-client.js";
import { withLock } from "./lock.js";
import { ioError, PartialFile, WrongBytes } from "./partial-file.js";

/** Connections that break are taken up where they broke. */
const maxAttempts = 4;

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
  const { downloadFile, fileDownloadInfo } = await hubLibrary();
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
  const { HubApiError } = await hubLibrary();
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

/** Has an errno code and a syscall: comes from the file system (network errors hide theirs in `cause`). */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error && "path" in error;
}

/** Makes the blob of `remote` present in the cache, then does `place` under the same lock. */
export async function fetchBlob<T>(
  cache: HubCache,
  hub: HubFile,
  remote: RemoteFile,
  access: Access,
  context: SourceContext,
  place: () => Promise<T>,
): Promise<T> {
  const blob = cache.blobPath(remote.etag);
  const onWait = () => context.progress("wait", 0, remote.bytes, "another process is fetching this file");
  return await withLock(cache.lockPath(remote.etag), context.signal, onWait, async () => {
    const there = await stat(blob).catch(() => null);
    if (there?.size !== remote.bytes) await download(blob, hub, remote, access, context);
    return await place();
  }).catch(async (error: unknown) => {
    throw isSystemError(error) ? await ioError(error, blob, remote.bytes) : error;
  });
}
