// SPDX-License-Identifier: Apache-2.0
// npm run schema: writes the published JSON Schema of chain documents anew; a test compares it with the code.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { ensureBuilt } from "./lib/ensure.mjs";
import { entry, root } from "./lib/run.mjs";

await entry(async () => {
  await ensureBuilt({ tests: false });
  const { chainSchema } = await import(path.join(root, "dist/index.js"));
  writeFileSync(path.join(root, "schema/chain.schema.json"), `${JSON.stringify(chainSchema, null, 2)}\n`);
});
