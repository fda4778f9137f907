// SPDX-License-Identifier: Apache-2.0
// Publishes the packages, platform packages first, so that the base package never asks for what is not there. Everything
// that can be wrong is looked at before anything is published; what is published already is left out, so that a
// release that was cut off can be run again.
//
//   release.mjs [--tag vX.Y.Z] [--publish]     without --publish npm only says what it would do
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { ensureModules, ensureTypeScript } from "./lib/ensure.mjs";
import { assembleBase, assemblePackages } from "./lib/packages.mjs";
import { cudaPackage } from "./lib/platforms.mjs";
import { entry, npmCommand, passThrough, root, Stop, say } from "./lib/run.mjs";

const manifestOf = (folder) => JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));

/** The tag, package.json and the changelog must speak of one version, and the changelog must say when. */
function checkVersion(version, tag) {
  if (tag && tag !== `v${version}`) throw new Stop(`the tag is ${tag}, and package.json has ${version}`);
  const changelog = readFileSync(path.join(root, "CHANGELOG.md"), "utf8");
  const heading = changelog.split("\n").find((line) => line.startsWith(`## ${version} - `));
  if (!heading) throw new Stop(`CHANGELOG.md has no section "## ${version} - DATE"`);
  if (!/ - \d{4}-\d\d-\d\d$/.test(heading)) {
    if (tag) throw new Stop(`CHANGELOG.md says "${heading}": write the date of the release there`);
    say(`CHANGELOG.md says "${heading}": a release will want a date there`);
  }
}

/** Provenance is bound to the repository that the workflow runs in, so the packages must name it. */
function nameRepository(folder) {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository } = process.env;
  if (!repository) return;
  const manifest = manifestOf(folder);
  manifest.repository ??= { type: "git", url: `git+${server}/${repository}.git` };
  writeFileSync(path.join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** All packages that the base package asks for, and the CUDA one where its library was built. */
function assembleAll(work) {
  const base = path.join(work, "asked");
  assembleBase(base);
  const asked = Object.keys(manifestOf(base).optionalDependencies);
  const cuda = existsSync(path.join(root, cudaPackage.library));
  if (!cuda) say(`without the CUDA package: ${cudaPackage.library} is not there`);
  const folders = assemblePackages(path.join(work, "packages"), {
    tags: asked.map((name) => name.split("/")[1]),
    cuda,
  });
  const made = folders.map((folder) => manifestOf(folder).name);
  const missing = asked.filter((name) => !made.includes(name));
  if (missing.length > 0)
    throw new Stop(`the base package asks for ${missing.join(", ")}, which was not made`);
  return folders;
}

function isPublished(npm, args, { name, version }) {
  const quiet = { stdio: "ignore" };
  return passThrough(npm, [...args, "view", `${name}@${version}`, "version", "--json"], quiet) === 0;
}

await entry(async () => {
  const { values } = parseArgs({ options: { tag: { type: "string" }, publish: { type: "boolean" } } });
  const { version } = manifestOf(root);
  checkVersion(version, values.tag);
  await ensureModules();
  await ensureTypeScript();
  const [npm, ...args] = npmCommand();
  const work = mkdtempSync(path.join(os.tmpdir(), "baton-release-"));
  try {
    const [base, ...others] = assembleAll(work);
    for (const folder of [...others, base]) {
      nameRepository(folder);
      const manifest = manifestOf(folder);
      if (values.publish && isPublished(npm, args, manifest)) {
        say(`${manifest.name} ${version} is published already`);
        continue;
      }
      const how = values.publish ? ["--provenance"] : ["--dry-run"];
      const code = passThrough(npm, [...args, "publish", folder, "--access", "public", ...how]);
      if (code !== 0) throw new Stop(`npm could not publish ${manifest.name} ${version}`);
    }
    say(values.publish ? `published ${version}` : "nothing was published: --publish does that");
  } finally {
    rmSync(work, { recursive: true });
  }
});
