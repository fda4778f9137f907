// SPDX-License-Identifier: Apache-2.0
// How a model cuts text before byte-pair merges, by `tokenizer.ggml.pre`. A name that is not here is an error: a
// wrong cut still looks like text and silently costs quality.
//
// Patterns are those of the models' published tokenizers, with Unicode meaning of \s, \p{L} and \p{N}; each row is
// compared with the reference implementation in test/model/pre-tokenizers.test.ts. To add one: one row here, one
// run of the fixture's script.

export interface PreTokenizer {
  /** Values of `tokenizer.ggml.pre`. */
  names: readonly string[];
  /** Applied one after another; each cuts the pieces of the one before at its matches, and keeps what lies between. */
  patterns: readonly string[];
  /** Unicode normalisation of the text before everything else. */
  normalizer: "NFC" | null;
  /** A piece that is a token as a whole becomes that token, whatever the merges say. */
  ignoreMerges: boolean;
  /** A text at frame position 0 starts with BOS, if the file does not say. */
  addBos: boolean;
}

/** Contractions, words, numbers, the rest, spaces: the cut of GPT-2, with one space going to what follows. */
const gpt2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

/** Contractions of any case. The reference folds case as Unicode does: the long s is an s. */
const contractions = "'(?:[sSſ]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])";

/** Contractions; words with one leading mark; `digits`; the rest; line ends; spaces. */
const withDigits = (digits: string) =>
  String.raw`${contractions}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;

/** Words cut where the case changes, `suffix` at their end. */
const byCase = (suffix: string, digits: string) =>
  [
    String.raw`[^\r\n\p{L}\p{N}]?${upper}*${lower}+${suffix}`,
    String.raw`[^\r\n\p{L}\p{N}]?${upper}+${lower}*${suffix}`,
    digits,
    String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  ].join("|");

/** ASCII mark with letters, words with combining marks, marks and symbols, line ends, spaces. */
const deepseekMain =
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|" +
  String.raw`[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const plain = { normalizer: null, ignoreMerges: false, addBos: false } as const;

export const preTokenizers: readonly PreTokenizer[] = [
  { ...plain, names: ["gpt-2", "phi-2"], patterns: [gpt2] },
  { ...plain, names: ["smollm", "starcoder", "refact"], patterns: [String.raw`\p{N}`, gpt2] },
  {
    names: ["llama-bpe", "llama3", "llama-v3"],
    patterns: [withDigits(String.raw`\p{N}{1,3}`)],
    normalizer: null,
    ignoreMerges: true,
    addBos: true,
  },
  { ...plain, names: ["qwen2"], patterns: [withDigits(String.raw`\p{N}`)], normalizer: "NFC" },
  {
    names: ["tekken"],
    patterns: [byCase("", String.raw`\p{N}`)],
    normalizer: null,
    ignoreMerges: true,
    addBos: true,
  },
  {
    ...plain,
    names: ["gpt-4o"],
    patterns: [byCase(`(?:${contractions})?`, String.raw`\p{N}{1,3}`)],
  },
  {
    ...plain,
    names: ["deepseek-v3"],
    patterns: [String.raw`\p{N}{1,3}`, "[一-龥\u3040-ゟ゠-ヿ]+", deepseekMain],
  },
];

export const preTokenizerNames: readonly string[] = preTokenizers.flatMap((one) => one.names);

export function findPreTokenizer(name: string): PreTokenizer | null {
  return preTokenizers.find((one) => one.names.includes(name)) ?? null;
}
