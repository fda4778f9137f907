// SPDX-License-Identifier: Apache-2.0
// llama.cpp against the reference on the text of the fixtures: what kernels with quantised activations may cost.
// Usage: node bench/rivals/llama-kl.mjs MODEL.gguf [--threads N] [--write]
//
// Per setting of flash attention, with f16 K and V as is llama.cpp's default: KL(reference || llama.cpp) on
// smollm2-distribution and the relative L2 error of each row of smollm2-logits (over that fixture's columns).
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { getLlama } from "node-llama-cpp";
import { lumpedKl, readSafetensors, relativeL2, summary } from "./distribution.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const fixtures = path.join(here, "../../test/fixtures");
const settings = [
  { name: "default", flashAttention: "auto" },
  { name: "flash attention off", flashAttention: false },
  { name: "flash attention on", flashAttention: true },
];

function fixture(name) {
  return readSafetensors(path.join(fixtures, name, "arrays.safetensors"));
}

/** Row r of a [rows, columns] tensor. */
function row({ shape, data }, r) {
  return data.subarray(r * shape[1], (r + 1) * shape[1]);
}

/** Raw logits after each token of `rows`: a Map from token id to logit per row, all of one prefill. */
async function logitsAt(model, flashAttention, threads, tokens, rows, columns) {
  const context = await model.createContext({ contextSize: 512, batchSize: 512, flashAttention, threads });
  const wanted = new Set(rows);
  const logits = columns === undefined ? true : { filter: { tokens: Array.from(columns) } };
  const output = await context
    .getSequence()
    .controlledEvaluate(
      Array.from(tokens, (token, i) => (wanted.has(i) ? [token, { generateNext: { logits } }] : token)),
    );
  await context.dispose();
  return Array.from(rows, (at) => output[at].next.logits);
}

async function distribution(model, flashAttention, threads) {
  const { tokens, rows, ids, logprobs, tail } = fixture("smollm2-distribution");
  const maps = await logitsAt(model, flashAttention, threads, tokens.data, rows.data);
  const kls = [];
  let agreeing = 0;
  maps.forEach((map, r) => {
    const logits = new Float64Array(map.size);
    for (const [token, value] of map) logits[token] = value;
    kls.push(lumpedKl({ ids: row(ids, r), logprobs: row(logprobs, r), tail: tail.data[r] }, logits));
    if (logits.indexOf(logits.reduce((a, b) => Math.max(a, b))) === row(ids, r)[0]) agreeing += 1;
  });
  return { klNats: summary(kls), sameBestToken: agreeing / maps.length };
}

async function logitErrors(model, flashAttention, threads) {
  const { tokens, columns, logits } = fixture("smollm2-logits");
  const rows = tokens.data.map((_, i) => i);
  const maps = await logitsAt(model, flashAttention, threads, tokens.data, rows, columns.data);
  const errors = maps.map((map, r) => {
    return relativeL2(
      row(logits, r),
      Array.from(columns.data, (id) => map.get(id)),
    );
  });
  return summary(errors);
}

const { values, positionals } = parseArgs({
  options: { threads: { type: "string", default: "2" }, write: { type: "boolean", default: false } },
  allowPositionals: true,
});
const file = positionals[0];
if (file === undefined)
  throw new Error("usage: node bench/rivals/llama-kl.mjs MODEL.gguf [--threads N] [--write]");
const threads = Number(values.threads);
const llama = await getLlama({ gpu: false, build: "never", maxThreads: threads });
const model = await llama.loadModel({ modelPath: file });
const result = {
  measured:
    "KL(reference || llama.cpp) in nats over the reference's top 1024 tokens and the rest as one bucket",
  machine: { cpu: os.cpus()[0].model, cores: os.cpus().length, features: llama.systemInfo.trim(), threads },
  versions: {
    "node-llama-cpp": JSON.parse(readFileSync(path.join(here, "node_modules/node-llama-cpp/package.json")))
      .version,
    "llama.cpp": llama.llamaCppRelease.release,
    node: process.version,
  },
  model: { file: path.basename(file), sha256: createHash("sha256").update(readFileSync(file)).digest("hex") },
  kv: "f16",
  results: [],
};
for (const { name, flashAttention } of settings) {
  const measured = await distribution(model, flashAttention, threads);
  const errors = await logitErrors(model, flashAttention, threads);
  result.results.push({ setting: name, flashAttention, ...measured, relativeL2: errors });
}
const text = `${JSON.stringify(result, null, 2)}\n`;
process.stdout.write(text);
if (values.write) writeFileSync(path.join(fixtures, "smollm2-distribution/llama-cpp-kl.json"), text);
await model.dispose();
await llama.dispose();
