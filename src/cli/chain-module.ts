// SPDX-License-Identifier: Apache-2.0
// The chain that a command is given: a module or a document.
//
// A module's default export has `model`, what loadModel takes as a name; `options`, what loadModel takes beside it, if
// any; `chain(model, baton)`, which returns the chain. `baton` holds this package's public names, for modules that
// stand outside any project. A document is JSON; the functions that it names are exports of another module.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseJson } from "../chain/document/files.js";
import * as baton from "../index.js";
import { UsageError } from "./exit-codes.js";

type AnyChain = baton.Chain<string, string, string, string>;

export interface ChainModule {
  model: string;
  options: baton.LoadOptions;
  chain(model: baton.Model): AnyChain | Promise<AnyChain>;
}

function existing(file: string, directory: string, what: string): string {
  const path = resolve(directory, file);
  if (existsSync(path)) return path;
  throw new UsageError(`There is no file ${path}. Give the path of ${what}.`);
}

/** `functions`: path of the module that a document's functions are exports of. Throws UsageError, CHAIN_INVALID. */
export async function openChain(
  file: string,
  directory: string,
  functions: string | undefined,
): Promise<ChainModule> {
  const path = existing(file, directory, "a chain module or document");
  if (extname(path) === ".json") return readDocument(path, directory, functions);
  if (functions === undefined) return importModule(path);
  throw new UsageError("--functions belongs to a chain document (.json); a module brings its own.");
}

async function importModule(path: string): Promise<ChainModule> {
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

async function readDocument(
  path: string,
  directory: string,
  functionsFile: string | undefined,
): Promise<ChainModule> {
  const document = baton.parseChainDocument(parseJson(await readFile(path, "utf8"), path));
  const module = functionsFile && existing(functionsFile, directory, "a module that exports functions");
  const functions = module ? ((await import(pathToFileURL(module).href)) as Record<string, unknown>) : {};
  return {
    model: document.model,
    options: document.options ?? {},
    chain: (loaded) => baton.chainFromDocument(loaded, document, { file: path, functions }),
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
