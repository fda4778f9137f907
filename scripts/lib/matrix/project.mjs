// SPDX-License-Identifier: Apache-2.0
// Empty projects with baton-lm installed, by any package manager, and programs that run in them. Everything is asynchronous:
// the registry that serves our packages lives in this process.
import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { root, Stop } from "../run.mjs";
import { npmFile } from "./tools.mjs";

/** @returns {Promise<{ code: number | string, text: string, out: string, ms: number }>} `code` is a signal's name where one ended it */
export function run(command, args, options = {}) {
  const begin = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    let [text, out] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (piece) => {
      text += piece;
      out += piece;
    });
    child.stderr.setEncoding("utf8").on("data", (piece) => {
      text += piece;
    });
    child.on("error", reject);
    child.on("close", (code, signal) =>
      resolve({ code: code ?? signal, text, out, ms: performance.now() - begin }),
    );
  });
}

/** A PATH with one Node and what package managers themselves call: nothing that compiles. */
export function poorPath(folder, node) {
  mkdirSync(folder, { recursive: true });
  for (const name of ["sh", "env", "uname", "which", "dirname", "sed", "basename"]) {
    const place = ["/bin", "/usr/bin"].map((one) => path.join(one, name)).find((one) => canOpen(one));
    if (place) symlinkSync(place, path.join(folder, name));
  }
  symlinkSync(node, path.join(folder, "node"));
  return folder;
}

function canOpen(file) {
  try {
    readFileSync(file);
    return true;
  } catch {
    return false;
  }
}

/** A folder of its own with a package.json and a .npmrc that knows where the platform packages are. */
export function emptyProject(work, name, registry) {
  const folder = path.join(work, name);
  mkdirSync(folder, { recursive: true });
  const manifest = { name: "user-of-baton", version: "1.0.0", private: true, type: "module" };
  writeFileSync(path.join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  writeFileSync(path.join(folder, ".npmrc"), `@baton-lm:registry=${registry.url}\n`);
  return folder;
}

/** Copies programs of scripts/smoke into the project. */
export function addPrograms(folder, ...names) {
  for (const name of names) copyFileSync(path.join(root, "scripts/smoke", name), path.join(folder, name));
}

const managers = {
  npm: ({ options, specs }) => [
    process.execPath,
    [npmFile(), "install", "--no-audit", "--no-fund", "--prefer-offline", ...options, ...specs],
  ],
  pnpm: ({ context: { tools, caches }, options, specs }) => [
    process.execPath,
    [tools.pnpm, "add", "--store-dir", path.join(caches, "pnpm"), "--prefer-offline", ...options, ...specs],
  ],
  bun: ({ context: { tools }, options, specs }) => [tools.bun, ["add", ...options, ...specs]],
};

/** Installs the tarballs `specs`; throws Stop with the manager's words when it fails. */
export async function install(
  context,
  manager,
  folder,
  { options = [], specs = [context.base.tarball], env = {} } = {},
) {
  const [command, args] = managers[manager]({ context, options, specs });
  const done = await run(command, args, {
    cwd: folder,
    env: { ...process.env, BUN_INSTALL_CACHE_DIR: path.join(context.caches, "bun"), CI: "1", ...env },
  });
  if (done.code !== 0)
    throw new Stop(`${manager} could not install (${done.code}): ${done.text.slice(-2000)}`);
  return done;
}

/** What programs in a project are run with: no addon but the installed one, and nothing kept in the user's cache. */
export const programEnv = (more = {}) => ({
  ...process.env,
  BATON_ADDON: "",
  BATON_FROZEN_FOLDER: "off",
  NODE_OPTIONS: "",
  ...more,
});
