// SPDX-License-Identifier: Apache-2.0
// Pages of the API from the docstrings of src/, by typedoc, which brings the compiler that it needs.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { site, staged } from "./stage.mjs";

export const apiFolder = path.join(staged, "api");

/** Modules in the order of the sidebar, by their folder. */
export const modules = [
  { text: "baton-lm", folder: "baton-lm" },
  { text: "baton-lm/ai-sdk", folder: "baton-lm/ai-sdk" },
  { text: "baton-lm/server", folder: "baton-lm/server" },
];

const kinds = {
  functions: "Functions",
  classes: "Classes",
  interfaces: "Interfaces",
  "type-aliases": "Types",
  variables: "Values",
};

export function writeApi() {
  rmSync(apiFolder, { recursive: true, force: true });
  const typedoc = path.join(site, "node_modules/typedoc/bin/typedoc");
  const { status } = spawnSync(
    process.execPath,
    [typedoc, "--options", path.join(site, "typedoc.json"), "--out", apiFolder, "--logLevel", "Warn"],
    { cwd: site, stdio: "inherit" },
  );
  if (status !== 0) throw new Error(`typedoc ended with ${status}`);
}

const namesIn = (folder) =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter((file) => file.endsWith(".md"))
        .map((file) => file.slice(0, -3))
        .sort((a, b) => a.localeCompare(b))
    : [];

/** Items of a sidebar. */
export function apiSidebar() {
  return modules.map(({ text, folder }) => ({
    text,
    link: `/api/${folder}/`,
    items: Object.entries(kinds).flatMap(([kind, title]) => {
      const names = namesIn(path.join(apiFolder, folder, kind));
      const items = names.map((name) => ({ text: name, link: `/api/${folder}/${kind}/${name}` }));
      return items.length === 0
        ? []
        : [{ text: title, collapsed: kind !== "functions" && kind !== "variables", items }];
    }),
  }));
}

/** Every page of the API, relative to the pages. */
export function apiPages() {
  return modules.flatMap(({ folder }) =>
    Object.keys(kinds).flatMap((kind) =>
      namesIn(path.join(apiFolder, folder, kind)).map((name) => `api/${folder}/${kind}/${name}`),
    ),
  );
}
