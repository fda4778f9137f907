// SPDX-License-Identifier: Apache-2.0
// Options of loadModel, checked and completed before anything is opened.

import { resolve } from "node:path";
import { OptionInvalidError } from "../errors.js";
import type {
  CachePolicy,
  Device,
  Drafting,
  KvType,
  NativeBinding,
  NativeModelOptions,
  RestoreMode,
} from "../native/types.js";
import { checkKnown } from "./known-options.js";
import type { LoadProgress } from "./progress.js";
import type { RunLimits } from "./run-queue.js";
import type { ResolveOptions } from "./source.js";

export interface TierOptions {
  host?: { bytes: number };
  disk?: { folder: string; bytes: number };
}

export interface LoadOptions extends Omit<ResolveOptions, "onProgress"> {
  /**
   * What the model runs on: `auto` (default), which takes the CPU as long as models on GPUs have not been measured
   * (`model.info` and `baton doctor` say why); `cpu`; `cuda`, the first CUDA device, or `cuda:1`. Another device than the
   * one asked for is never taken, and prompts are trained where the model is.
   */
  device?: Device;
  /** Worker threads; default: what CPU, affinity and container quota allow. */
  threads?: number;
  /** Byte budget of the KV pool; default: a quarter of the free memory, at most 1 GiB. */
  cacheBytes?: number;
  /**
   * Of `cacheBytes`, what closed segments may keep when nobody holds them any more, to be found again by their
   * content; room that is needed is taken from it, least recently used first. Default: half of `cacheBytes`; 0: off.
   */
  indexBytes?: number;
  /**
   * By what kept segments are given up, in the pool and in tiers. `lru` (default): the least recently used first;
   * `cost`: what takes least to compute again, for its bytes and as often as it was used, first.
   */
  cachePolicy?: CachePolicy;
  /**
   * Where the KV goes that nobody holds, each with a byte budget of its own: `host`, the host's memory, for models on a
   * GPU; `disk`, a folder, which the next process finds as well. Blocks move in the background, with checksums; a folder
   * has one model at a time, and belongs to whoever may write it: what is in it is read as if it had been computed here.
   * Default: nowhere.
   */
  tiers?: TierOptions;
  /**
   * Whether rows that a tier has are read back: `faster` (default): if that is expected to take less than computing
   * them, by what both took lately; `always`, `never`. Events of chains tell (`cache-tier`).
   */
  restore?: RestoreMode;
  /**
   * Number format of stored K and V; default f16. `int8`: quants with a scale for each row and kv head, little more
   * than half the bytes of f16, so that twice as many rows fit and long contexts decode faster; less exact.
   */
  kvType?: KvType;
  /**
   * `int8` (default): activations are quantised per block of 32 before they meet quantised weights, and rounded to
   * bfloat16 before BF16 weights where the CPU multiplies those (AVX-512, AMX); other weights meet float32.
   * `float32`: weights are dequantised exactly; slower, for comparisons. In training, `int8` also lets gradients be
   * multiplied in bfloat16 where the CPU has AVX-512.
   */
  activations?: "int8" | "float32";
  /** Same bits whatever the batch, the chunking and the thread count; default false. */
  batchInvariant?: boolean;
  /** Most rows of one forward; longer prefills are cut; default 512. */
  maxBatchRows?: number;
  /**
   * `auto` (default): where an output repeats what it reads, or itself, its next tokens are guessed and checked several
   * at a time, as far as that is expected to pay. Every token is sampled as ever, from its own logits and with its own
   * random number: the same tokens with `batchInvariant`, and without it equal as between any two batches.
   */
  drafting?: Drafting;
  /**
   * Fails a run with NOT_FINITE at the first result of its rows that is NaN or infinite, naming operation, layer and row,
   * while others go on. For hunting such numbers: every result is read once more. On the CPU only. Default: false, or
   * true where the environment has BATON_WATCH_NUMBERS=1.
   */
  watchNumbers?: boolean;
  /**
   * Most runs of chains in progress at once; further ones wait in the order in which they were started, before they
   * compute or reserve anything. Default: no limit, then the KV budget decides. A run that a `from` function of
   * another run starts never waits and takes no place.
   */
  maxConcurrentRuns?: number;
  /** Most runs that wait; one more fails with QUEUE_FULL. Needs maxConcurrentRuns; 0: none waits. Default: no limit. */
  maxQueuedRuns?: number;
  /** Hears how far the load is, on this thread. What it throws ends the load, which rejects with that. */
  onProgress?: (progress: LoadProgress) => void;
}

const mebibyte = 1024 * 1024;
/** As a regular expression, for schemas too. */
export const devicePattern = "^(auto|cpu|cuda(:[0-9]{1,4})?)$";
export const kvTypes = ["f32", "f16", "bf16", "int8"] as const satisfies readonly KvType[];
export const draftingModes = ["auto", "off"] as const satisfies readonly Drafting[];
export const cachePolicies = ["lru", "cost"] as const satisfies readonly CachePolicy[];
export const restoreModes = ["faster", "always", "never"] as const satisfies readonly RestoreMode[];
const activationTypes = ["int8", "float32"] as const;

function invalid(option: string, value: unknown, expected: string): OptionInvalidError {
  return new OptionInvalidError(`\`${option}\` is ${String(value)}, which must be ${expected}.`, {
    facts: { option, value: String(value) },
  });
}

function count(option: string, value: number | undefined, fallback: number, most: number, least = 1): number {
  if (value === undefined) return fallback;
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw invalid(option, value, `a whole number from ${least} to ${most}`);
}

function oneOf<T extends string>(
  option: string,
  value: T | undefined,
  allowed: readonly T[],
  fallback: T,
): T {
  if (value === undefined) return fallback;
  if (allowed.includes(value)) return value;
  throw invalid(option, JSON.stringify(value), allowed.map((one) => JSON.stringify(one)).join(" or "));
}

/** Throws OPTION_INVALID naming option, value and range. */
export function runLimits({ maxConcurrentRuns, maxQueuedRuns }: LoadOptions): RunLimits {
  const unlimited = Number.POSITIVE_INFINITY;
  if (maxQueuedRuns !== undefined && maxConcurrentRuns === undefined) {
    throw new OptionInvalidError(
      `\`maxQueuedRuns\` is ${String(maxQueuedRuns)}, and without \`maxConcurrentRuns\` no run ever waits. Give both.`,
      { facts: { option: "maxQueuedRuns", value: String(maxQueuedRuns) } },
    );
  }
  const most = Number.MAX_SAFE_INTEGER;
  return {
    maxConcurrentRuns: count("maxConcurrentRuns", maxConcurrentRuns, unlimited, most),
    maxQueuedRuns: maxQueuedRuns === 0 ? 0 : count("maxQueuedRuns", maxQueuedRuns, unlimited, most),
  };
}

function deviceOf(device: Device = "auto"): Device {
  if (typeof device === "string" && new RegExp(devicePattern).test(device)) return device;
  throw invalid("device", JSON.stringify(device), '"auto", "cpu", "cuda" or one like "cuda:1"');
}

/** Nearest first. */
function tiersOf(tiers: TierOptions = {}): NonNullable<NativeModelOptions["cacheTiers"]> {
  const isObject = (value: unknown) => typeof value === "object" && value !== null;
  if (!isObject(tiers)) throw invalid("tiers", tiers, "an object with `host`, `disk` or both");
  for (const name of Object.keys(tiers)) {
    if (name !== "host" && name !== "disk") throw invalid("tiers", `"${name}"`, '"host" or "disk"');
  }
  const { host, disk } = tiers;
  const bytesOf = (name: string, tier: { bytes: number }) =>
    count(`tiers.${name}.bytes`, isObject(tier) ? (tier.bytes ?? -1) : -1, 0, Number.MAX_SAFE_INTEGER);
  const list: NonNullable<NativeModelOptions["cacheTiers"]> = [];
  if (host !== undefined) list.push({ name: "host", bytes: bytesOf("host", host) });
  if (disk === undefined) return list;
  const bytes = bytesOf("disk", disk);
  const { folder } = disk;
  if (typeof folder !== "string" || folder === "") {
    throw invalid("tiers.disk.folder", JSON.stringify(folder), "the path of a folder");
  }
  return [...list, { name: "disk", bytes, folder: resolve(folder) }];
}

/** A record, so that the compiler misses none. */
const known: Readonly<Record<keyof LoadOptions, true>> = {
  signal: true,
  onProgress: true,
  cacheDir: true,
  env: true,
  device: true,
  threads: true,
  kvType: true,
  activations: true,
  batchInvariant: true,
  maxBatchRows: true,
  cacheBytes: true,
  indexBytes: true,
  cachePolicy: true,
  tiers: true,
  restore: true,
  drafting: true,
  watchNumbers: true,
  maxConcurrentRuns: true,
  maxQueuedRuns: true,
};

/** Throws OPTION_INVALID naming option, value and range. */
export function nativeOptions(options: LoadOptions, native: NativeBinding): NativeModelOptions {
  checkKnown({ label: "loadModel", facts: {} }, options, Object.keys(known));
  const device = deviceOf(options.device);
  const { batchInvariant = false, watchNumbers } = options;
  for (const [name, value] of Object.entries({ batchInvariant, watchNumbers: watchNumbers ?? false })) {
    if (typeof value !== "boolean") throw invalid(name, value, "true or false");
  }
  const defaultBytes = Math.max(64 * mebibyte, Math.min(1024 * mebibyte, native.availableMemory() / 4));
  const most = Number.MAX_SAFE_INTEGER;
  const cacheBytes = count("cacheBytes", options.cacheBytes, Math.floor(defaultBytes), most);
  const indexBytes = count("indexBytes", options.indexBytes, Math.floor(cacheBytes / 2), most, 0);
  const cacheTiers = tiersOf(options.tiers);
  if (cacheTiers.length > 0 && indexBytes === 0) {
    throw invalid("indexBytes", indexBytes, "above 0 with `tiers`: what is not kept cannot be moved");
  }
  return {
    device,
    threads: count("threads", options.threads, native.availableThreads(), 1024),
    cacheBytes,
    indexBytes,
    cachePolicy: oneOf("cachePolicy", options.cachePolicy, cachePolicies, "lru"),
    restore: oneOf("restore", options.restore, restoreModes, "faster"),
    cacheTiers,
    kvType: oneOf("kvType", options.kvType, kvTypes, "f16"),
    activations: oneOf("activations", options.activations, activationTypes, "int8"),
    batchInvariant,
    maxBatchRows: count("maxBatchRows", options.maxBatchRows, 512, 65536),
    drafting: oneOf("drafting", options.drafting, draftingModes, "auto"),
    ...(watchNumbers === undefined ? {} : { watchNumbers }),
  };
}
