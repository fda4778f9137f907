// SPDX-License-Identifier: Apache-2.0
// What KV outside of a pool is bound to: rows computed by another model, in another number format or by other arithmetic
// are other numbers, and rows of another tokenizer another text.

import { KvMismatchError } from "../../errors.js";
import type { Model } from "../../model/model.js";
import { packageVersion } from "../../native/load.js";
import { Segment } from "../segment.js";

/** In the order in which differences are told. */
export interface KvBinding {
  /** Of this package. */
  version: string;
  /** SHA-256, hex, of the model's content. */
  model: string;
  weightType: string;
  /** SHA-256, hex, of what the model's file says of its tokenizer. */
  tokenizer: string;
  kvType: string;
  layers: number;
  kvHeads: number;
  headDim: number;
  blockRows: number;
  /** Identity of no rows: of the above and of activations and kind of device. */
  arithmetic: string;
}

const whats: Record<keyof KvBinding, string> = {
  version: "release of baton-lm",
  model: "model content",
  weightType: "weight type",
  tokenizer: "tokenizer",
  kvType: "kvType",
  layers: "number of layers",
  kvHeads: "number of KV heads",
  headDim: "length of a head",
  blockRows: "rows of a block",
  arithmetic: "arithmetic (activations, kind of device)",
};

export function bindingOf(model: Model): KvBinding {
  const { info } = model;
  const nothing = new Segment(model.engine, { kind: "input", start: 0, reads: [] });
  const arithmetic = nothing.info().identity;
  nothing.release();
  return {
    version: packageVersion(),
    model: info.contentHash,
    weightType: info.weightType,
    tokenizer: model.tokenizerHash,
    kvType: info.kvType,
    layers: info.layers,
    kvHeads: info.kvHeads,
    headDim: info.headDim,
    blockRows: info.blockRows,
    arithmetic,
  };
}

/** `label`: what is restored, for messages. Throws KV_MISMATCH naming the first field that differs. */
export function checkBinding(model: Model, found: Readonly<Record<string, unknown>>, label: string): void {
  const expected = bindingOf(model);
  for (const [field, value] of Object.entries(expected)) {
    if (found[field] === value) continue;
    throw mismatch(label, {
      field,
      what: whats[field as keyof KvBinding],
      expected: value,
      found: found[field],
    });
  }
}

export interface Mismatch {
  field: string;
  /** The field in words. */
  what: string;
  expected: unknown;
  found: unknown;
}

export function mismatch(label: string, { field, what, expected, found }: Mismatch): KvMismatchError {
  const shown = (value: unknown) => (value === undefined ? "none" : String(value).slice(0, 80));
  return new KvMismatchError(
    `${label} was made under another ${what}: ${shown(found)}, where this is ${shown(expected)}. ` +
      "Restore it under the one that it was made with, or compute its rows anew.",
    { facts: { field, expected: shown(expected), found: shown(found) } },
  );
}
