// SPDX-License-Identifier: Apache-2.0
// What a prompt was trained under, kept beside its PEFT files as `baton_contract.json`. PEFT never sees it; a prompt
// without one is used without a word. Unknown keys are ignored, known ones must make sense.

import { randomUUID } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { IoError, PromptInvalidError } from "../errors.js";

export const contractFile = "baton_contract.json";

/** A read or own input as a contract names it; an output carries the hash of the prompt that wrote it. */
export interface ContractSegment {
  kind: "input" | "output";
  /** Hash of the writer's prompt, outputs only; null: written without one. */
  prompt?: string | null;
  /** An input that reads nothing. */
  alone?: boolean;
}

export interface PromptContract {
  version: 1;
  base: { contentHash: string; weightType: string };
  layout: "frames" | "concatenated";
  /** Formats of inputs by position in reads, then own; null: the text as it is. */
  format: (string | null)[];
  /** Token ids. */
  opener: number[];
  lead: string;
  closers: number[];
  /** Of the stage's first instance. */
  reads: ContractSegment[];
  own: ContractSegment[];
  /** Of later instances, in rounds, that read otherwise than those before; absent: all read alike. */
  later?: ContractSegment[][];
}

export interface ContractDifference {
  /** Path of the field, e.g. "base.weightType" or "reads[1]". */
  field: string;
  trained: string;
  used: string;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isString = (value: unknown): value is string => typeof value === "string";
const isTokenIds = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((id) => Number.isSafeInteger(id) && id >= 0);

function readSegment(value: unknown): ContractSegment | null {
  if (!isObject(value)) return null;
  const { kind, prompt, alone } = value;
  if (kind !== "input" && kind !== "output") return null;
  if (prompt !== undefined && prompt !== null && !isString(prompt)) return null;
  if (alone !== undefined && typeof alone !== "boolean") return null;
  return { kind, ...(prompt === undefined ? {} : { prompt }), ...(alone === undefined ? {} : { alone }) };
}

function readSegments(value: unknown): ContractSegment[] | null {
  if (!Array.isArray(value)) return null;
  const segments = value.map(readSegment);
  return segments.every((segment) => segment !== null) ? segments : null;
}

function readLists(value: unknown): ContractSegment[][] | null {
  if (!Array.isArray(value)) return null;
  const lists = value.map(readSegments);
  return lists.every((one) => one !== null) ? lists : null;
}

/** Throws PromptInvalidError that names the file and the key. */
export function parseContract(text: string, label: string): PromptContract {
  const fail = (key: string, expected: string) =>
    new PromptInvalidError(
      `${label}: ${key} must be ${expected}. Delete the file to use the prompt without its contract, or train again.`,
      { facts: { file: label, key, expected } },
    );
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw fail("the file", "JSON");
  }
  if (!isObject(json)) throw fail("the file", "a JSON object");
  const { version, base, layout, format, opener, lead, closers } = json;
  if (version !== 1) throw fail("version", "1 (a newer one needs a newer version of this package)");
  if (!isObject(base) || !isString(base.contentHash) || !isString(base.weightType)) {
    throw fail("base", "an object with contentHash and weightType");
  }
  if (layout !== "frames" && layout !== "concatenated") throw fail("layout", '"frames" or "concatenated"');
  if (!Array.isArray(format) || !format.every((one) => one === null || isString(one))) {
    throw fail("format", "a list of strings or null");
  }
  if (!isTokenIds(opener)) throw fail("opener", "a list of token ids");
  if (!isTokenIds(closers)) throw fail("closers", "a list of token ids");
  if (!isString(lead)) throw fail("lead", "a string");
  const reads = readSegments(json.reads);
  if (reads === null) throw fail("reads", "a list of inputs and outputs");
  const own = readSegments(json.own);
  if (own === null) throw fail("own", "a list of inputs and outputs");
  const later = json.later === undefined ? undefined : readLists(json.later);
  if (later === null) throw fail("later", "a list of lists of inputs and outputs");
  const { contentHash, weightType } = base;
  const rest = later === undefined ? {} : { later };
  return {
    version,
    base: { contentHash, weightType },
    layout,
    format,
    opener,
    lead,
    closers,
    reads,
    own,
    ...rest,
  };
}

/** The file's text. */
export const formatContract = (contract: PromptContract): string => `${JSON.stringify(contract, null, 2)}\n`;

/** Writes `baton_contract.json` into a prompt's folder, whole or not at all. Throws IoError. */
export async function writeContract(folder: string, contract: PromptContract): Promise<void> {
  const path = join(folder, contractFile);
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeFile(temporary, formatContract(contract));
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new IoError(
      `${path} cannot be written: ${(cause as Error).message}. Check the folder and its permissions.`,
      {
        facts: { path },
        cause,
      },
    );
  }
}

function describeSegment({ kind, prompt, alone }: ContractSegment): string {
  if (kind === "input") return alone === true ? "input alone" : "input";
  return prompt === undefined || prompt === null
    ? "output without a prompt"
    : `output of prompt ${prompt.slice(0, 12)}`;
}

/** A contract as flat fields; two contracts are equal if all of these are. */
function flatten(contract: PromptContract): Map<string, string> {
  const fields = new Map<string, string>();
  fields.set("base.contentHash", contract.base.contentHash);
  fields.set("base.weightType", contract.base.weightType);
  fields.set("layout", contract.layout);
  fields.set("opener", JSON.stringify(contract.opener));
  fields.set("lead", JSON.stringify(contract.lead));
  fields.set("closers", JSON.stringify(contract.closers));
  for (const [i, one] of contract.format.entries()) fields.set(`format[${i}]`, JSON.stringify(one));
  for (const key of ["reads", "own"] as const) {
    for (const [i, one] of contract[key].entries()) fields.set(`${key}[${i}]`, describeSegment(one));
  }
  for (const [at, list] of (contract.later ?? []).entries()) {
    for (const [i, one] of list.entries()) fields.set(`later[${at}][${i}]`, describeSegment(one));
  }
  return fields;
}

/** Differences between the contract a prompt was trained under and the one it is used under; empty: none. */
export function compareContracts(trained: PromptContract, used: PromptContract): ContractDifference[] {
  const before = flatten(trained);
  const now = flatten(used);
  const differences: ContractDifference[] = [];
  for (const field of new Set([...before.keys(), ...now.keys()])) {
    const pair = { trained: before.get(field) ?? "absent", used: now.get(field) ?? "absent" };
    if (pair.trained !== pair.used) differences.push({ field, ...pair });
  }
  return differences;
}
