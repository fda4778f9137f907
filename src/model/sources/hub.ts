// SPDX-License-Identifier: Apache-2.0
// Files of the Hugging Face Hub, into its standard cache ($HF_HUB_CACHE, $HF_HOME/hub).
//
// What is in the cache is used without asking the network; name another revision ("hf:...@revision") to get one.

import { IoError } from "../../errors.js";
import type { HubFile } from "../catalog.js";
import type { Found, Source, SourceContext, Wanted } from "./contract.js";
import { HubCache } from "./hub-cache.js";
import type { RemoteFile } from "./hub-client.js";
import { describeFile, explain, isOffline, readAccess } from "./hub-client.js";
import { fetchBlob } from "./hub-download.js";

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
  if (isOffline(context.env)) throw new Error("HF_HUB_OFFLINE is set and the file is not in the cache");
  const access = await readAccess(context.env);
  try {
    const remote = await describeFile(hub, access, context);
    checkOffer(remote, wanted, hub);
    const sha256 = wanted.sha256 ?? remote.sha256;
    const cache = new HubCache(context.env, hub);
    const path = await fetchBlob(cache, hub, { ...remote, sha256 }, access, context, async () => {
      const placed = await cache.place(remote.etag, remote.commit);
      await cache.pointRevision(remote.commit);
      return placed;
    });
    return { path, bytes: remote.bytes, ...(sha256 === undefined ? {} : { sha256 }) };
  } catch (error) {
    if (context.signal?.aborted) throw context.signal.reason;
    if (IoError.isInstance(error)) throw error;
    throw await explain(error, `${hub.repo}/${hub.file}@${hub.revision}`, access);
  }
}

export const hubSource: Source = {
  name: "hub",
  applies: (wanted) => wanted.hub !== undefined,
  lookup: (wanted, context) => new HubCache(context.env, wanted.hub as HubFile).lookup(wanted),
  fetch: fetchFile,
};
