// SPDX-License-Identifier: Apache-2.0
// The module that `baton run` is given. Its default export: `model`, what loadModel takes as a name; `options`, what
// loadModel takes beside it, if any; `chain(model, baton)`, which returns the chain. `baton` holds this package's
// public names, for modules that stand outside any project.

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import * as baton from "../index.js";
import { UsageError } from "./exit-codes.js";

type AnyChain = baton.Chain<string, string, string, string>;

export interface ChainModule {
  model: string;
  options: baton.LoadOptions;
  chain(model: baton.Model): AnyChain | Promise<AnyChain>;
}

/** Throws UsageError for a missing file or an export of another shape. */
export async function importChainModule(file: string, directory: string): Promise<ChainModule> {
  const path = resolve(directory, file);
  if (!existsSync(path)) throw new UsageError(`There is no file ${path}. Give the path of a chain module.`);
  const { default: found } = (await import(pathToFileURL(path).href)) as { default?: unknown };
  const { model, options, chain } = (typeof found === "object" && found !== null ? found : {}) as Record<
    string,
    unknown
  >;
  if (typeof model !== "string" || typeof chain !== "function") {
    throw new UsageError(
      `${path} must have a default export { model: "name or file", chain(model) }, with \`chain\` returning a chain.`,
    );
  }
  return {
    model,
    options: (options ?? {}) as baton.LoadOptions,
    chain: (loaded) => chain(loaded, baton) as AnyChain | Promise<AnyChain>,
  };
}

/** "name=text" or "name=@file" ("@-": standard input; "@@..." is a text that begins with "@"). */
export async function readInputs(
  pairs: readonly string[],
  readFile: (path: string) => Promise<string>,
): Promise<Record<string, string>> {
  const inputs: Record<string, string> = {};
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at < 1)
      throw new UsageError(`--input ${JSON.stringify(pair)} is not of the form name=text or name=@file.`);
    const name = pair.slice(0, at);
    if (Object.hasOwn(inputs, name)) throw new UsageError(`--input ${name} is given twice. Give it once.`);
    const value = pair.slice(at + 1);
    if (value.startsWith("@@")) inputs[name] = value.slice(1);
    else inputs[name] = value.startsWith("@") ? await readFile(value.slice(1)) : value;
  }
  return inputs;
}
