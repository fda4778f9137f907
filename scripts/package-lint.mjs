// SPDX-License-Identifier: Apache-2.0
// The base package as other programs will read it: publint looks at its manifest and files, are-the-types-wrong
// resolves every entry as each module resolution of TypeScript does, from ESM and from CommonJS. Both must find nothing.
//
//   package-lint.mjs
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { ensureModules, ensureTypeScript } from "./lib/ensure.mjs";
import { assembleBase } from "./lib/packages.mjs";
import { entry, npmPack, say } from "./lib/run.mjs";

/** Entries that nobody imports types from. */
const data = ["./chain.schema.json", "./package.json"];

async function publintFindings(folder) {
  const { messages, pkg } = await publint({ pkgDir: folder, strict: true, pack: "npm" });
  return messages.map((message) => `publint: ${formatMessage(message, pkg, { color: false })}`);
}

/** One line per problem: what it is, at which entry, resolved how, by the names that the tool's pages have. */
function lineOf(problem) {
  const { kind, entrypoint, resolutionKind, trace, ...rest } = problem;
  return `types: ${kind} ${entrypoint ?? ""} ${resolutionKind ?? ""} ${JSON.stringify(rest)}`;
}

async function typesFindings(folder, work) {
  const packed = createPackageFromTarballData(new Uint8Array(readFileSync(npmPack(folder, work).tarball)));
  const found = await checkPackage(packed, { excludeEntrypoints: data });
  if (!found.types) return ["types: the package has none"];
  const entries = Object.keys(found.entrypoints);
  say(`are-the-types-wrong resolved ${entries.join(", ")}`);
  return found.problems.map(lineOf);
}

await entry(async () => {
  await ensureModules();
  await ensureTypeScript();
  const work = mkdtempSync(path.join(os.tmpdir(), "baton-lint-"));
  try {
    const folder = path.join(work, "baton-lm");
    assembleBase(folder);
    const findings = [...(await publintFindings(folder)), ...(await typesFindings(folder, work))];
    for (const finding of findings) say(finding);
    return findings.length > 0 ? 1 : 0;
  } finally {
    rmSync(work, { recursive: true });
  }
});
