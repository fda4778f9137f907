// SPDX-License-Identifier: Apache-2.0
// Soft prompts: whatever a stage names as its `prompt` becomes tokens or embedding rows, with a content hash. Equal
// content has equal hashes wherever it came from, so its KV is computed once.

import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { endianness } from "node:os";
import { join, resolve } from "node:path";
import { IoError, PromptInvalidError } from "../errors.js";
import type { PromptContract } from "./contract.js";
import { contractFile, parseContract } from "./contract.js";
import { parseSafetensors } from "./safetensors.js";
import type { Tokenizer } from "./tokenizer.js";

export type { ContractDifference, ContractSegment, PromptContract } from "./contract.js";
export { compareContracts, writeContract } from "./contract.js";

/** A PEFT PROMPT_TUNING folder, a text, or rows [count, hidden]. */
export type PromptSource =
  | string
  | { text: string; virtualTokens?: number }
  | { rows: Float32Array; count: number };

export interface ResolvedPrompt {
  kind: "tokens" | "rows";
  /** kind "tokens": ids [count]. */
  tokens?: Int32Array;
  /** kind "rows": [count, hidden], row-major. */
  rows?: Float32Array;
  /** Virtual tokens. */
  count: number;
  /** SHA-256, hex, of kind and content. */
  hash: string;
  /** Folder, or a short description, for messages and `explain`. */
  label: string;
  contract?: PromptContract;
}

export interface PromptTarget {
  /** Model width M. */
  hidden: number;
  tokenizer: Tokenizer;
}

const configFile = "adapter_config.json";
const weightsFile = "adapter_model.safetensors";
const tensorName = "prompt_embeddings";

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function contentHash(kind: ResolvedPrompt["kind"], content: Int32Array | Float32Array): string {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  const littleEndian = endianness() === "LE" ? bytes : Buffer.from(bytes).swap32();
  return createHash("sha256").update(`baton prompt ${kind}\n`).update(littleEndian).digest("hex");
}

/** Checks rows [count, hidden] against the model and for numbers that are none. */
function fromRows(rows: Float32Array, count: number, hidden: number, label: string): ResolvedPrompt {
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new PromptInvalidError(`${label} has ${count} rows; give at least one.`, {
      facts: { label, count },
    });
  }
  const width = rows.length / count;
  if (width !== hidden) {
    throw new PromptInvalidError(
      `${label} has ${count} rows of ${width} numbers, but the model's width is ${hidden}. Use a prompt trained for ` +
        "this model, or the model that the prompt was trained for.",
      { facts: { label, count, width, hidden } },
    );
  }
  const bad = rows.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    const [row, column] = [Math.floor(bad / hidden), bad % hidden];
    throw new PromptInvalidError(
      `${label} has ${rows[bad]} in row ${row}, column ${column}. Its training diverged or the file is damaged: ` +
        "take an earlier checkpoint.",
      { facts: { label, row, column, value: String(rows[bad]) } },
    );
  }
  return { kind: "rows", rows, count, hash: contentHash("rows", rows), label };
}

/** Ids repeated or cut to `virtualTokens`, as PEFT initialises a prompt from a text. */
function fromText(
  text: string,
  virtualTokens: number | undefined,
  { tokenizer }: PromptTarget,
): ResolvedPrompt {
  const shown = text.length > 40 ? `${text.slice(0, 40)}...` : text;
  const label = `text ${JSON.stringify(shown)}`;
  if (virtualTokens !== undefined && (!Number.isSafeInteger(virtualTokens) || virtualTokens < 1)) {
    throw new PromptInvalidError(
      `${label}: virtualTokens is ${virtualTokens}; give a whole number from 1 on.`,
      {
        facts: { label, virtualTokens: String(virtualTokens) },
      },
    );
  }
  const ids = tokenizer.encode(text, { specials: false });
  if (ids.length === 0) {
    throw new PromptInvalidError(`${label} has no tokens; write a text, or leave the prompt out.`, {
      facts: { label },
    });
  }
  const count = virtualTokens ?? ids.length;
  const tokens = Int32Array.from({ length: count }, (_, i) => ids[i % ids.length] as number);
  return { kind: "tokens", tokens, count, hash: contentHash("tokens", tokens), label };
}

async function readOptional(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw new IoError(`${path} cannot be read: ${message}. Check the file and its permissions.`, {
      facts: { path, code: code ?? "" },
      cause,
    });
  }
}

/** Config keys that a fact of the weights or the model must agree with; unknown keys are ignored. */
function checkConfig(text: string, path: string): { virtualTokens: unknown; width: unknown } {
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    config = null;
  }
  if (!isObject(config)) {
    throw new PromptInvalidError(
      `${path} is not a JSON object. Save the prompt again with PEFT's save_pretrained.`,
      {
        facts: { file: path },
      },
    );
  }
  const { peft_type: type, num_transformer_submodules: submodules } = config;
  if (type !== "PROMPT_TUNING") {
    throw new PromptInvalidError(
      `${path}: peft_type is ${JSON.stringify(type)}; supported: "PROMPT_TUNING". Train the role by prompt tuning.`,
      { facts: { file: path, key: "peft_type", value: shown(type), supported: ["PROMPT_TUNING"] } },
    );
  }
  if (submodules !== undefined && submodules !== null && submodules !== 1) {
    throw new PromptInvalidError(
      `${path}: num_transformer_submodules is ${JSON.stringify(submodules)}; supported: 1 (a causal language model, not ` +
        "an encoder with a decoder).",
      { facts: { file: path, key: "num_transformer_submodules", value: shown(submodules) } },
    );
  }
  return { virtualTokens: config.num_virtual_tokens ?? null, width: config.token_dim ?? null };
}

/** A value of a file, whatever it is: an object of a file may have a `toString` of its own. */
const shown = (value: unknown): string =>
  typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined");

function checkStated(path: string, key: string, stated: unknown, found: number): void {
  if (stated === null || stated === found) return;
  throw new PromptInvalidError(
    `${path}: ${key} is ${JSON.stringify(stated)}, but ${tensorName} has ${found}. The two files do not belong ` +
      "together: save the prompt again.",
    { facts: { file: path, key, value: shown(stated), found } },
  );
}

function folderError(folder: string, what: string, remedy: string): PromptInvalidError {
  return new PromptInvalidError(`The prompt folder ${folder} ${what}. ${remedy}`, {
    facts: { label: folder },
  });
}

async function fromFolder(folder: string, { hidden }: PromptTarget): Promise<ResolvedPrompt> {
  const config = await readOptional(join(folder, configFile));
  if (config === null) {
    const info = await stat(folder).catch(() => null);
    const what =
      info === null ? "does not exist" : info.isDirectory() ? `has no ${configFile}` : "is not a folder";
    throw folderError(folder, what, "Name a folder that PEFT's save_pretrained wrote.");
  }
  const configPath = join(folder, configFile);
  const stated = checkConfig(config.toString("utf8"), configPath);
  const weightsPath = join(folder, weightsFile);
  const weights = await readOptional(weightsPath);
  if (weights === null) {
    throw folderError(folder, `has no ${weightsFile}`, "Save it with safe_serialization (.bin is not read).");
  }
  const { tensors } = parseSafetensors(weights, weightsPath);
  const tensor = tensors.get(tensorName);
  if (tensor === undefined) {
    const names = [...tensors.keys()];
    throw new PromptInvalidError(
      `${weightsPath} has no tensor ${tensorName} (it has ${names.join(", ") || "none"}). Save the prompt again with PEFT.`,
      { facts: { file: weightsPath, found: names } },
    );
  }
  const [count = 0, width = 0] = tensor.shape;
  if (tensor.shape.length !== 2) {
    throw new PromptInvalidError(
      `${weightsPath}: ${tensorName} has the shape [${tensor.shape.join(", ")}], not [virtual tokens, width]. Save the ` +
        "prompt again with PEFT.",
      { facts: { file: weightsPath, shape: [...tensor.shape] } },
    );
  }
  checkStated(configPath, "num_virtual_tokens", stated.virtualTokens, count);
  checkStated(configPath, "token_dim", stated.width, width);
  const prompt = fromRows(tensor.data, count, hidden, folder);
  const contractText = await readOptional(join(folder, contractFile));
  if (contractText === null) return prompt;
  return { ...prompt, contract: parseContract(contractText.toString("utf8"), join(folder, contractFile)) };
}

/** Throws PromptInvalidError naming file, key or row, the value and the remedy; IoError if a file cannot be read. */
export async function resolvePrompt(source: PromptSource, target: PromptTarget): Promise<ResolvedPrompt> {
  if (typeof source === "string") {
    if (source === "" || source.includes("\0")) {
      throw folderError(
        JSON.stringify(source),
        "has no name",
        "Name a folder that PEFT's save_pretrained wrote.",
      );
    }
    return await fromFolder(resolve(source), target);
  }
  // Plain JavaScript callers can hand over anything.
  const given: unknown = source;
  if (isObject(given) && typeof given.text === "string") {
    return fromText(given.text, given.virtualTokens as number | undefined, target);
  }
  if (isObject(given) && given.rows instanceof Float32Array) {
    // A copy: what is hashed and cached must not change under us.
    const rows = given.rows.slice();
    const count = given.count as number;
    return fromRows(rows, count, target.hidden, `rows [${count}, ${rows.length / count}]`);
  }
  throw new PromptInvalidError(
    "A prompt is the path of a folder, { text, virtualTokens? } or { rows: Float32Array, count }.",
    { facts: { label: typeof given } },
  );
}
