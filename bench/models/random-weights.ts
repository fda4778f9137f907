// SPDX-License-Identifier: Apache-2.0
// Numbers for weights whose values do not matter: uniform with the variance that keeps activations near 1, the same in
// every run. A stretch of blocks is drawn and repeated; its length is prime, so that no two rows of a weight are alike.
import { type WeightTypeName, weightTypes } from "./shapes.js";

const stretch = { blocks: 4_099, numbers: 131_101 };

/** float16 bits of a number whose magnitude is a normal float16, rounded towards zero. */
export function halfBits(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  const bits = view.getUint32(0);
  const exponent = ((bits >>> 23) & 0xff) - 127 + 15;
  if (exponent < 1 || exponent > 30) throw new RangeError(`${value} is no normal float16`);
  return ((bits >>> 16) & 0x8000) | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}

/** Numbers in [0, 1): xorshift32. */
function uniform(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}

type Filler = (view: DataView, at: number, bytes: number, most: number, random: () => number) => void;

const scaled =
  (scale: (most: number) => number[]): Filler =>
  (view, at, bytes, most, random) => {
    const head = scale(most);
    head.forEach((value, i) => {
      view.setUint16(at + 2 * i, halfBits(value), true);
    });
    for (let i = 2 * head.length; i < bytes; i++) view.setUint8(at + i, Math.floor(random() * 256));
  };

const signed = (most: number, random: () => number) => (2 * random() - 1) * most;

/** One block each, numbers up to `most` in magnitude. */
const fillers: Record<WeightTypeName, Filler> = {
  F32: (view, at, _, most, random) => view.setFloat32(at, signed(most, random), true),
  F16: (view, at, _, most, random) =>
    view.setUint16(at, halfBits((random() < 0.5 ? -1 : 1) * most * (0.1 + random())), true),
  BF16: (view, at, _, most, random) => {
    view.setFloat32(0, signed(most, random), true);
    view.setUint16(at, view.getUint16(2, true), true);
  },
  Q8_0: scaled((most) => [most / 128]),
  Q4_0: scaled((most) => [most / 8]),
  Q4_1: scaled((most) => [(2 * most) / 15, -most]),
};

/** Whole blocks of a type, to be repeated; magnitudes up to about `most`. */
export function randomStretch(type: WeightTypeName, most: number, seed: number): Buffer {
  const { blockElements, blockBytes } = weightTypes[type];
  const blocks = blockElements > 1 ? stretch.blocks : stretch.numbers;
  // Four bytes in front for formats that are cut out of float32.
  const bytes = Buffer.alloc(4 + blocks * blockBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const random = uniform(seed);
  for (let block = 0; block < blocks; block++)
    fillers[type](view, 4 + block * blockBytes, blockBytes, most, random);
  return bytes.subarray(4);
}
