// SPDX-License-Identifier: Apache-2.0
// A model with its weights in another type (rivals/retype.py), and the reference of a model: transformers in float32 on its weights dequantised (rivals/reference.py), on the passages of the
// evaluation data. Made once per model, text and size, and kept: it takes longer than most of what is compared with it.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type CompressAnswerItem, MissingData, readItems } from "../chains/data.js";
import type { ChainSources } from "../chains/forced-chain.js";
import type { ReferenceSize } from "../contract.js";
import type { WeightTypeName } from "../models/shapes.js";
import { rivals } from "../runner/paths.js";
import { pythonOf, runPython } from "../subjects/python.js";

interface MadeFile {
  /** Absolute path of the GGUF file that it is made of. */
  model: string;
  /** Where it is kept. */
  folder: string;
  tell: (line: string) => void;
}

export interface ReferenceInit extends ReferenceSize, MadeFile {
  sources: ChainSources;
  threads: number;
}

/** The passages one after another, as far as `count` tokens go. Throws MissingData. */
export function referenceTokens(sources: ChainSources, count: number): number[] {
  const items = readItems<CompressAnswerItem>(sources, "hotpot-compress-answer", ["test", "dev", "train"]);
  const ids: number[] = [];
  for (const { passages } of items) {
    if (ids.length >= count) break;
    ids.push(...sources.encode(`${passages}\n\n`));
  }
  if (ids.length < count)
    throw new MissingData(`needs ${count} tokens of passages, the data have ${ids.length}`);
  return ids.slice(0, count);
}

function needPython(): void {
  if (existsSync(pythonOf())) return;
  throw new MissingData(
    "needs PyTorch, transformers and gguf: run bench/rivals/setup-python.mjs, or name an interpreter in BATON_BENCH_PYTHON",
  );
}

/** Path of the model with its weights in another type; made if it is not there. Throws MissingData without Python. */
export async function retypedFile({ model, folder, tell }: MadeFile, type: WeightTypeName): Promise<string> {
  const file = path.join(folder, `${path.basename(model, ".gguf")}-as-${type}.gguf`);
  if (existsSync(file)) return file;
  needPython();
  mkdirSync(folder, { recursive: true });
  tell(`writing ${file}`);
  const part = `${file}.part`;
  await runPython([path.join(rivals, "retype.py"), "--model", model, "--type", type, "--out", part]);
  renameSync(part, file);
  return file;
}

/** Path of the file of distributions; made if it is not there. Throws MissingData without data or without PyTorch. */
export async function referenceFile(init: ReferenceInit): Promise<string> {
  const { model, sources, folder, chunks, rows, threads, tell } = init;
  const tokens = referenceTokens(sources, chunks * rows);
  const hash = createHash("sha256")
    .update(readFileSync(model))
    .update(JSON.stringify([rows, tokens]));
  const file = path.join(folder, `reference-${hash.digest("hex").slice(0, 16)}.logits`);
  if (existsSync(file)) return file;
  needPython();
  mkdirSync(folder, { recursive: true });
  tell(`computing the float32 reference of ${path.basename(model)} over ${tokens.length} tokens`);
  const list = `${file}.tokens.json`;
  writeFileSync(list, JSON.stringify(tokens));
  const part = `${file}.part`;
  const script = path.join(rivals, "reference.py");
  const values = { model, tokens: list, rows: String(rows), threads: String(threads), out: part };
  await runPython([script, ...Object.entries(values).flatMap(([name, value]) => [`--${name}`, value])]);
  renameSync(part, file);
  return file;
}
