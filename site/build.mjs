// SPDX-License-Identifier: Apache-2.0
// Builds the site into site/.build/dist and checks it, or serves it while pages are written.
//
//   build.mjs [--dev]
import { rmSync, watch } from "node:fs";
import path from "node:path";
import { createServer, build as vitepress } from "vitepress";
import { writeApi } from "./api.mjs";
import { checkSite } from "./check.mjs";
import { writeLlms } from "./llms.mjs";
import { build, root, site, staged, stagePages } from "./stage.mjs";

function stage() {
  rmSync(staged, { recursive: true, force: true });
  stagePages();
  writeApi();
}

async function buildSite() {
  const dist = path.join(build, "dist");
  rmSync(dist, { recursive: true, force: true });
  stage();
  await vitepress(site);
  writeLlms(dist);
  const { pages, links, faults } = checkSite(dist, process.env.BATON_DOCS_BASE ?? "/");
  for (const fault of faults) console.error(fault);
  console.log(`${pages} pages, ${links} links between them, ${faults.length} that lead nowhere: ${dist}`);
  return faults.length === 0 ? 0 : 1;
}

/** Pages are laid out again when one is written; pages of the API are those of the start. */
async function serveSite() {
  stage();
  const server = await createServer(site);
  await server.listen();
  server.printUrls();
  let due;
  const again = () => {
    clearTimeout(due);
    due = setTimeout(() => {
      try {
        stagePages();
      } catch (error) {
        console.error(error.message);
      }
    }, 100);
  };
  for (const folder of ["docs", "docs/guide", "examples", "prompts"]) watch(path.join(root, folder), again);
  watch(root, (_, file) => file?.endsWith(".md") && again());
}

if (process.argv.includes("--dev")) await serveSite();
else process.exitCode = await buildSite();
