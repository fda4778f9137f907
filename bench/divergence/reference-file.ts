// SPDX-License-Identifier: Apache-2.0
// Next-token distributions of a reference in the format that llama.cpp's perplexity tool reads, so that it and we are
// held against the same numbers. Little-endian: "_logits_", int32 rows of a chunk, vocabulary, chunks; int32 tokens of
// all chunks; then, of every chunk, the distributions after its rows rows/2 .. rows-2. A distribution is float32 step,
// float32 least ln p, and one uint16 per token: ln p = least + step * it; 16 below the likeliest logit nothing is told
// apart. The vocabulary is padded to an even number.
import { closeSync, openSync, readSync } from "node:fs";

const magic = "_logits_";
const headBytes = 8 + 3 * 4;

export interface Distribution {
  step: number;
  least: number;
  /** [vocabulary] */
  steps: Uint16Array;
}

/** What two distributions after the same row have to do with each other. */
export interface Agreement {
  /** KL(reference || other), nats. */
  kl: number;
  /** Both think the same token the likeliest. */
  sameTop: boolean;
}

/** `logits`: [vocabulary] of the other engine. As llama.cpp's tool computes it: what is less likely than e^-16 counts for nothing. */
export function agreement({ step, least, steps }: Distribution, logits: Float32Array): Agreement {
  let top = 0;
  for (let id = 1; id < logits.length; id++) if ((logits[id] as number) > (logits[top] as number)) top = id;
  const most = logits[top] as number;
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - most);
  const normalizer = most + Math.log(sum);
  let kl = 0;
  let likeliest = 0;
  for (let id = 0; id < logits.length; id++) {
    const count = steps[id] as number;
    if (count > (steps[likeliest] as number)) likeliest = id;
    const ln = least + step * count;
    if (ln > -16) kl += Math.exp(ln) * (ln - ((logits[id] as number) - normalizer));
  }
  return { kl, sameTop: likeliest === top };
}

export class ReferenceFile {
  readonly rows: number;
  readonly vocab: number;
  readonly chunks: number;
  readonly #file: number;

  /** Throws Error for a file of another format. */
  constructor(path: string) {
    this.#file = openSync(path, "r");
    const head = this.#read(0, headBytes);
    if (head.toString("latin1", 0, 8) !== magic) throw new Error(`${path} holds no distributions`);
    this.rows = head.readInt32LE(8);
    this.vocab = head.readInt32LE(12);
    this.chunks = head.readInt32LE(16);
  }

  /** Rows of a chunk before the first one that has a distribution. */
  get first(): number {
    return this.rows >> 1;
  }

  /** Distributions of a chunk. */
  get scored(): number {
    return this.rows - 1 - this.first;
  }

  tokens(chunk: number): Int32Array {
    const bytes = this.#read(headBytes + 4 * chunk * this.rows, 4 * this.rows);
    return Int32Array.from({ length: this.rows }, (_, at) => bytes.readInt32LE(4 * at));
  }

  /** After row `first + at` of the chunk. */
  distribution(chunk: number, at: number): Distribution {
    const rowBytes = 2 * (2 * ((this.vocab + 1) >> 1) + 4);
    const begin = headBytes + 4 * this.chunks * this.rows;
    const bytes = this.#read(begin + (chunk * this.scored + at) * rowBytes, rowBytes);
    return {
      step: bytes.readFloatLE(0),
      least: bytes.readFloatLE(4),
      steps: new Uint16Array(bytes.buffer, bytes.byteOffset + 8, this.vocab),
    };
  }

  close(): void {
    closeSync(this.#file);
  }

  #read(at: number, length: number): Buffer {
    const bytes = Buffer.from(new ArrayBuffer(length));
    for (let done = 0; done < length; ) {
      const count = readSync(this.#file, bytes, done, length - done, at + done);
      if (count === 0) throw new Error("the file of distributions ends too early");
      done += count;
    }
    return bytes;
  }
}
