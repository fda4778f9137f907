// SPDX-License-Identifier: Apache-2.0
// GGUF files of speed models, made where they are missing. A file is whole or not there.
import { closeSync, existsSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import path from "node:path";
import { randomStretch } from "./random-weights.js";
import {
  type Shape,
  type SpeedModel,
  shapes,
  type Tensor,
  tensorBytes,
  tensorsOf,
  weightTypes,
} from "./shapes.js";
import { makeVocabulary } from "./vocabulary.js";

const alignment = 32;
const aligned = (bytes: number) => Math.ceil(bytes / alignment) * alignment;

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

/** GGUF's numbers of the kinds of metadata that are written here. */
const kinds = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 };

const number = (key: string, value: number) => [text(key), u32(kinds.u32), u32(value)];
const real = (key: string, value: number) => [text(key), u32(kinds.f32), f32(value)];
const word = (key: string, value: string) => [text(key), u32(kinds.string), text(value)];
const no = (key: string) => [text(key), u32(kinds.bool), Buffer.from([0])];
const words = (key: string, values: readonly string[]) => [
  ...[text(key), u32(kinds.array), u32(kinds.string), u64(values.length)],
  ...values.map(text),
];
const numbers = (key: string, values: readonly number[]) => [
  ...[text(key), u32(kinds.array), u32(kinds.i32), u64(values.length)],
  ...values.map(u32),
];

function metadata(name: string, shape: Shape, fileType: number): Buffer[][] {
  const { tokens, kinds: tokenKinds, merges } = makeVocabulary(shape.vocab);
  return [
    word("general.architecture", "llama"),
    word("general.name", name),
    number("general.file_type", fileType),
    number("general.quantization_version", 2),
    number("llama.block_count", shape.layers),
    number("llama.context_length", shape.contextLength),
    number("llama.embedding_length", shape.hidden),
    number("llama.feed_forward_length", shape.ffn),
    number("llama.attention.head_count", shape.heads),
    number("llama.attention.head_count_kv", shape.kvHeads),
    number("llama.attention.key_length", shape.headDim),
    number("llama.attention.value_length", shape.headDim),
    number("llama.rope.dimension_count", shape.headDim),
    real("llama.rope.freq_base", shape.ropeTheta),
    real("llama.attention.layer_norm_rms_epsilon", 1e-5),
    number("llama.vocab_size", shape.vocab),
    word("tokenizer.ggml.model", "gpt2"),
    word("tokenizer.ggml.pre", "smollm"),
    words("tokenizer.ggml.tokens", tokens),
    numbers("tokenizer.ggml.token_type", tokenKinds),
    words("tokenizer.ggml.merges", merges),
    number("tokenizer.ggml.bos_token_id", 1),
    number("tokenizer.ggml.eos_token_id", 2),
    number("tokenizer.ggml.padding_token_id", 2),
    no("tokenizer.ggml.add_bos_token"),
  ];
}

function header(name: string, shape: Shape, fileType: number, tensors: readonly Tensor[]): Buffer {
  const entries = metadata(name, shape, fileType);
  let offset = 0;
  const infos = tensors.flatMap((one) => {
    const at = offset;
    offset += aligned(tensorBytes(one));
    const dimensions = [...one.shape].reverse().map(u64);
    const { id } = weightTypes[one.type ?? "F32"];
    return [text(one.name), u32(dimensions.length), ...dimensions, u32(id), u64(at)];
  });
  const parts = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(entries.length), ...entries.flat()];
  const bytes = Buffer.concat([...parts, ...infos]);
  return Buffer.concat([bytes, Buffer.alloc(aligned(bytes.length) - bytes.length)]);
}

/** Everything of it, or the writer throws: writeSync may write less than it was given. */
function writeAll(file: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
}

function writeRepeated(file: number, stretch: Buffer, total: number): void {
  const several = Buffer.concat(Array.from({ length: 16 }, () => stretch));
  for (let done = 0; done < total; done += several.length)
    writeAll(file, several.subarray(0, Math.min(several.length, total - done)));
}

function writeTensor(file: number, tensor: Tensor, seed: number): void {
  const total = tensorBytes(tensor);
  if (tensor.type === null) {
    writeAll(file, Buffer.from(Float32Array.from({ length: total / 4 }, () => 1).buffer));
  } else {
    const depth = tensor.shape[1] as number;
    const most = tensor.name === "token_embd.weight" ? 0.03 : Math.sqrt(3 / depth);
    writeRepeated(file, randomStretch(tensor.type, most, seed), total);
  }
  writeAll(file, Buffer.alloc(aligned(total) - total));
}

/** Writes a speed model of any shape. */
export function writeModel(file: string, name: string, shape: Shape, type: SpeedModel["type"]): void {
  const tensors = tensorsOf(shape, type);
  const part = `${file}.part`;
  const out = openSync(part, "w");
  try {
    writeAll(out, header(name, shape, weightTypes[type].fileType, tensors));
    for (const [at, tensor] of tensors.entries()) writeTensor(out, tensor, at + 1);
  } finally {
    closeSync(out);
  }
  renameSync(part, file);
}

/** The file of a speed model in `folder`; made if it is not there. */
export function modelFile(folder: string, { shape, type }: SpeedModel, tell: (line: string) => void): string {
  const file = path.join(folder, `${shape}-${type}.gguf`);
  if (existsSync(file)) return file;
  mkdirSync(folder, { recursive: true });
  tell(`writing ${file}`);
  writeModel(file, `random ${shape}`, shapes[shape], type);
  return file;
}
