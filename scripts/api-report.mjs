// SPDX-License-Identifier: Apache-2.0
// The public types, one file per entry of the package in api/, made from the declarations in dist/: a change of what
// users see is a change of these files. Types that public ones mention without exporting them are named at the end,
// so that one that was forgotten shows, too.
//
//   api-report.mjs [--write]     without --write it fails where a file is not what the declarations say
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { dualEntries } from "./lib/cjs.mjs";
import { ensureModules, ensureTypeScript } from "./lib/ensure.mjs";
import { entry, root, Stop, say } from "./lib/run.mjs";

const compilerOptions = {
  ...{ target: "es2022", module: "nodenext", moduleResolution: "nodenext", strict: true, skipLibCheck: true },
  ...{ lib: ["es2023", "esnext.disposable"], types: ["node"] },
};

/** "baton-lm", "baton-lm-ai-sdk", "baton-lm-server": the entry's name as a file's. */
const reportName = (name, entryName) => `${name}${entryName.slice(1).replaceAll("/", "-")}`;

function configOf(file, name, folder) {
  const quiet = { default: { logLevel: "none" } };
  return {
    projectFolder: root,
    mainEntryPointFilePath: path.join(root, file),
    compiler: { overrideTsconfig: { compilerOptions, files: [path.join(root, file)] } },
    apiReport: {
      ...{ enabled: true, reportFileName: name, reportFolder: folder, reportTempFolder: folder },
      includeForgottenExports: false,
    },
    docModel: { enabled: false },
    dtsRollup: { enabled: false },
    tsdocMetadata: { enabled: false },
    messages: {
      compilerMessageReporting: { default: { logLevel: "error" } },
      extractorMessageReporting: { ...quiet, "ae-forgotten-export": { logLevel: "warning" } },
      tsdocMessageReporting: quiet,
    },
  };
}

/** The report's text of one entry. */
function reportOf({ Extractor, ExtractorConfig }, file, name, folder) {
  const forgotten = new Set();
  const errors = [];
  const config = ExtractorConfig.prepare({
    configObject: configOf(file, name, folder),
    packageJsonFullPath: path.join(root, "package.json"),
  });
  const messageCallback = (message) => {
    if (message.messageId === "ae-forgotten-export") forgotten.add(message.text.match(/"([^"]+)"/)[1]);
    else if (message.logLevel === "error") errors.push(message.text);
    message.handled = true;
  };
  Extractor.invoke(config, { localBuild: true, messageCallback });
  if (errors.length > 0) throw new Stop(`${file} cannot be reported: ${errors.join("; ")}`);
  const text = readFileSync(path.join(folder, `${name}.api.md`), "utf8").replaceAll("\r\n", "\n");
  const names = [...forgotten].sort().map((one) => `- \`${one}\`\n`);
  return `${text}\nMentioned by the above, not exported:\n\n${names.join("") || "nothing\n"}`;
}

function inFile(file) {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return "";
    throw error;
  }
}

await entry(async () => {
  const write = process.argv.includes("--write");
  await ensureModules();
  await ensureTypeScript();
  const extractor = createRequire(import.meta.url)("@microsoft/api-extractor");
  const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const work = mkdtempSync(path.join(os.tmpdir(), "baton-api-"));
  const api = path.join(root, "api");
  mkdirSync(api, { recursive: true });
  const changed = [];
  try {
    for (const one of dualEntries(manifest)) {
      const [entryName] = Object.entries(manifest.exports).find(([, value]) => value === one);
      const name = reportName(manifest.name, entryName);
      const text = reportOf(extractor, one.import.types, name, work);
      const file = path.join(api, `${name}.api.md`);
      if (text === inFile(file)) continue;
      changed.push(path.relative(root, file));
      if (write) writeFileSync(file, text);
    }
  } finally {
    rmSync(work, { recursive: true });
  }
  if (write) say(changed.length === 0 ? "api/ was up to date" : `wrote ${changed.join(", ")}`);
  else if (changed.length > 0)
    throw new Stop(
      `${changed.join(", ")} is not what the types say: if that change is meant, run \`npm run api\` and commit it.`,
    );
});
