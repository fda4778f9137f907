// SPDX-License-Identifier: Apache-2.0
// The reference of a model: transformers in float32 on its weights dequantised (rivals/reference.py), on the passages of the
// evaluation data. Made once per model, text and size, and kept: it takes longer than most of what is compared with it.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type CompressAnswerItem, MissingData, readItems } from "../chains/data.js";
import type { ChainSources } from "../chains/forced-chain.js";
import type { ReferenceSize } from "../contract.js";
import { rivals } from "../runner/paths.js";
import { pythonOf, runPython } from "../subjects/python.js";

export interface ReferenceInit extends ReferenceSize {
  /** Absolute path of the GGUF file. */
  model: string;
  sources: ChainSources;
  /** Where it is kept. */
  folder: string;
  threads: number;
  tell: (line: string) => void;
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

/** Path of the file of distributions; made if it is not there. Throws MissingData without data or without PyTorch. */
export async function referenceFile(init: ReferenceInit): Promise<string> {
  const { model, sources, folder, chunks, rows, threads, tell } = init;
  const tokens = referenceTokens(sources, chunks * rows);
  const hash = createHash("sha256")
    .update(readFileSync(model))
    .update(JSON.stringify([rows, tokens]));
  const file = path.join(folder, `reference-${hash.digest("hex").slice(0, 16)}.logits`);
  if (existsSync(file)) return file;
  if (!existsSync(pythonOf()))
    throw new MissingData(
      `needs PyTorch and transformers: run bench/rivals/setup-python.mjs, or name an interpreter in BATON_BENCH_PYTHON`,
    );
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
