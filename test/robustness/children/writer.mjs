// SPDX-License-Identifier: Apache-2.0
// Computes, writes a snapshot over the one before and fills a disk tier, over and over, until somebody ends the process.
// Says "writing" each time a round begins.

import { join } from "node:path";
import { loadModel } from "../../../dist/index.js";
import { tinyPath } from "./tiny.mjs";

const folder = process.argv[2];
const model = await loadModel(tinyPath, {
  threads: 1,
  batchInvariant: true,
  cacheBytes: 1 << 20,
  indexBytes: 1 << 17,
  tiers: { disk: { folder: join(folder, "tier"), bytes: 1 << 20 } },
  restore: "always",
});
for (let round = 0; ; round++) {
  const handle = model.cache.open();
  await handle.append(Array.from({ length: 300 }, (_, i) => (i * 37 + (round % 20) * 101) % 500));
  console.log("writing");
  await handle.snapshot(join(folder, "kept.snapshot"), { about: { round } });
  handle.close();
}
