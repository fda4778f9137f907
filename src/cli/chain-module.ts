// SPDX-License-Identifier: Apache-2.0
// The chain that a command is given: a module or a document.
//
// A module's default export has `model`, what loadModel takes as a name; `options`, what loadModel takes beside it, if
// any; `chain(model, baton)`, which returns the chain. `baton` holds this package's public names, for modules that
// stand outside any project. A document is JSON; the functions that it names are exports of another module.

import { existsSync, readdirSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname, extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseJson } from "../chain/document/files.js";
import * as baton from "../index.js";
import { didYouMean } from "../suggest.js";
import { UsageError } from "./exit-codes.js";

type AnyChain = baton.Chain<string, string, string, string>;

export interface ChainModule {
  model: string;
  options: baton.LoadOptions;
  chain(model: baton.Model): AnyChain | Promise<AnyChain>;
  /** Absolute paths of what it was read from; complete when `chain` has returned. */
  files: readonly string[];
}

function existing(file: string, directory: string, what: string): string {
  const path = resolve(directory, file);
  if (existsSync(path)) return path;
  const beside = existsSync(dirname(path)) ? readdirSync(dirname(path)) : [];
  throw new UsageError(
    `There is no file ${path}. Give the path of ${what}.${didYouMean(basename(path), beside)}`,
  );
}

/** `functions`: path of the module that a document's functions are exports of. Throws UsageError, CHAIN_INVALID. */
export async function openChain(
  file: string,
  directory: string,
  functions: string | undefined,
): Promise<ChainModule> {
  const path = existing(file, directory, "a chain module or document");
  if (extname(path) === ".json") return readDocument(path, directory, functions);
  if (functions === undefined) return readModule(path);
  throw new UsageError("--functions belongs to a chain document (.json); a module brings its own.");
}

/** Modules as they were when they were imported first. */
const imported = new Map<string, string>();

/** A module that has changed since is imported anew: under another URL it is another one. What it imports is not. */
function importModule(path: string): Promise<Record<string, unknown>> {
  const { mtimeMs, size } = statSync(path);
  const state = `${mtimeMs}-${size}`;
  const first = imported.get(path) ?? state;
  imported.set(path, first);
  const { href } = pathToFileURL(path);
  return import(first === state ? href : `${href}?${state}`);
}

async function readModule(path: string): Promise<ChainModule> {
  const { default: found } = await importModule(path);
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
    files: [path],
  };
}

async function readDocument(
  path: string,
  directory: string,
  functionsFile: string | undefined,
): Promise<ChainModule> {
  const document = baton.parseChainDocument(parseJson(await readFile(path, "utf8"), path));
  const module = functionsFile && existing(functionsFile, directory, "a module that exports functions");
  const functions = module ? await importModule(module) : {};
  const files = [path, ...(module ? [module] : [])];
  return {
    model: document.model,
    options: document.options ?? {},
    chain: (loaded) =>
      baton.chainFromDocument(loaded, document, {
        ...{ file: path, functions },
        onFile: (one) => files.push(one),
      }),
    files,
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
