// SPDX-License-Identifier: Apache-2.0
// A registry on loopback that has our platform packages and nothing else, so that package managers choose among them as
// they will among the published ones: by `os`, `cpu` and `libc` of optional dependencies.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";

function versionOf({ manifest, tarball }, url) {
  if (!tarball) return { ...manifest, dist: { tarball: `${url}/-/not-built.tgz`, shasum: "0".repeat(40) } };
  const bytes = readFileSync(tarball);
  const integrity = `sha512-${createHash("sha512").update(bytes).digest("base64")}`;
  const shasum = createHash("sha1").update(bytes).digest("hex");
  return { ...manifest, dist: { tarball: `${url}/-/${path.basename(tarball)}`, integrity, shasum } };
}

function packument(name, packed, url) {
  const versions = packed.filter((one) => one.manifest.name === name);
  if (versions.length === 0) return undefined;
  const long = "2026-01-01T00:00:00.000Z"; // a package manager may want packages of a certain age
  return {
    name,
    "dist-tags": { latest: versions.at(-1).manifest.version },
    time: Object.fromEntries(versions.map(({ manifest }) => [manifest.version, long])),
    versions: Object.fromEntries(versions.map((one) => [one.manifest.version, versionOf(one, url)])),
  };
}

/**
 * @param {{ manifest: object, tarball?: string }[]} packed without a tarball: it is known, and cannot be fetched
 * @returns {Promise<{ url: string, close(): void }>}
 */
export async function serveRegistry(packed) {
  const server = createServer((request, response) => {
    const url = `http://${request.headers.host}`;
    const asked = decodeURIComponent(new URL(request.url, url).pathname).slice(1);
    const file = packed.find(({ tarball }) => tarball && asked === `-/${path.basename(tarball)}`);
    if (file) return response.end(readFileSync(file.tarball));
    const found = packument(asked, packed, url);
    if (!found) return response.writeHead(404).end("{}");
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(found));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}
