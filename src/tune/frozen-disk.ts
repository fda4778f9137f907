// SPDX-License-Identifier: Apache-2.0
// Frozen rows on disk: what does not fit into the pool is read back instead of computed again, in later epochs and in
// later runs. A file holds one segment and is named by all that its KV depends on, so that a file of that name is the
// right one whoever wrote it: another stage's training finds what it reads in common. A checksum says whether it is
// whole. Files are written as segments are computed. When their budget is spent, those go that this run has not used, the
// least recently used first, and then no more are written: every epoch visits every item once, so of n files of which c
// fit all c are found again, where giving up one of them for the next would leave few. Losing a file costs time only:
// one that cannot be read or written is no failure of the training.

import { createHash } from "node:crypto";
import { readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { Segment } from "../cache/segment.js";
import type { SegmentId } from "../chain/plan.js";
import type { Model } from "../model/model.js";
import type { ResolvedPrompt } from "../model/prompt.js";
import type { KvSpec } from "../native/types.js";
import type { AssembledItem, AssembledSegment } from "./assemble.js";
import { removeAbandoned, writeWhole } from "./files.js";
import type { FrozenKv } from "./frozen.js";

const suffix = ".frozen-kv";
const magic = Buffer.from("BATONKV2");

interface Header {
  spec: KvSpec;
  /** SHA-256, hex, of what follows the header. */
  sha256: string;
}

export interface FrozenDiskInit {
  model: Model;
  folder: string;
  /** Most bytes of files in the folder. */
  budget: number;
  promptOf: (site: string) => ResolvedPrompt;
  /** Says once that files cannot be written. */
  onWarning: (message: string) => void;
}

export class FrozenDisk {
  readonly #init: FrozenDiskInit;
  /** Bytes of each file, the least recently used first; null until the folder was listed. */
  #files: Map<string, number> | null = null;
  /** Keys of files that were read or written by this run. */
  readonly #used = new Set<string>();
  #broken = false;

  constructor(init: FrozenDiskInit) {
    this.#init = init;
  }

  /** The item's frozen rows; `compute` takes over those of files and computes the others, which go to files. */
  async hold(
    item: AssembledItem,
    compute: (restored: ReadonlyMap<SegmentId, Segment>) => Promise<FrozenKv>,
    signal?: AbortSignal,
  ): Promise<FrozenKv> {
    const keys = this.#keysOf(item);
    const kept = item.frozen.filter(({ id }) => item.kept.has(id));
    const wanted = new Set(item.kept); // and what those read that have no file
    const restored = new Map<SegmentId, Segment>();
    try {
      for (const { id, reads } of [...item.frozen].reverse()) {
        if (!wanted.has(id)) continue;
        const segment = await this.#load(keys.get(id) ?? "");
        if (segment !== null) restored.set(id, segment);
        else for (const one of reads) wanted.add(one.id);
        signal?.throwIfAborted();
      }
    } catch (error) {
      for (const one of restored.values()) one.release();
      throw error;
    }
    const kv = await compute(restored);
    try {
      for (const one of kept) {
        const segment = kv.segments.get(one.id);
        if (segment !== undefined && !restored.has(one.id))
          await this.#save(keys.get(one.id) ?? "", one, segment);
      }
      return kv;
    } catch (error) {
      kv.release();
      throw error;
    }
  }

  /** Of every frozen segment SHA-256, hex, of the model, how it computes, its rows and all that they read. */
  #keysOf({ frozenPrompts, frozen }: AssembledItem): Map<SegmentId, string> {
    const { engine, info } = this.#init.model;
    // The identity of no rows is that of the model's content, the KV format and the arithmetic.
    const empty = new Segment(engine, { kind: "input", start: 0, reads: [] });
    const base = [empty.info().identity, info.isa];
    empty.release();
    const keys = new Map<SegmentId, string>();
    const prompts = new Map(
      frozenPrompts.map(({ id, site, start }) => [id, [start, this.#init.promptOf(site).hash]] as const),
    );
    for (const { id, kind, start, tokens, reads } of frozen) {
      const views = reads.map((one) => [keys.get(one.id) ?? prompts.get(one.id), one.rows, one.shift]);
      const hash = createHash("sha256").update(JSON.stringify([base, kind, start, views]));
      hash.update(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength));
      keys.set(id, hash.digest("hex"));
    }
    return keys;
  }

  #path(key: string): string {
    return join(this.#init.folder, `${key}${suffix}`);
  }

  async #load(key: string): Promise<Segment | null> {
    const path = this.#path(key);
    const file = await readFile(path).catch(() => null);
    if (file === null) return null;
    const parsed = parse(file, key);
    if (parsed === null) {
      await this.#forget(key);
      return null;
    }
    await utimes(path, new Date(), new Date()).catch(() => {});
    const files = await this.#list();
    files.delete(key);
    files.set(key, file.length);
    this.#used.add(key);
    return await Segment.restore(this.#init.model.engine, parsed.header.spec, parsed.payload);
  }

  async #save(key: string, { kind, start, tokens }: AssembledSegment, segment: Segment): Promise<void> {
    if (this.#broken) return;
    const payload = await segment.export();
    const sha256 = createHash("sha256").update(payload).digest("hex");
    const header: Header = { spec: { kind, start, rows: tokens.length, name: key }, sha256 };
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    await this.#write(key, Buffer.concat([magic, length, text, payload]));
  }

  async #write(key: string, file: Uint8Array): Promise<void> {
    const { budget, onWarning } = this.#init;
    try {
      if (file.length > budget || !(await this.#makeRoom(file.length))) return;
      await writeWhole(this.#path(key), file);
      (await this.#list()).set(key, file.length);
      this.#used.add(key);
    } catch (error) {
      this.#broken = true;
      onWarning(
        `Frozen rows are no longer kept on disk, and computed again where memory does not hold them: ${(error as Error).message}`,
      );
    }
  }

  async #makeRoom(bytes: number): Promise<boolean> {
    const { budget } = this.#init;
    const files = await this.#list();
    const sum = (sizes: number[]) => sizes.reduce((total, one) => total + one, 0);
    const others = [...files].filter(([key]) => !this.#used.has(key));
    let used = sum([...files.values()]);
    if (used - sum(others.map(([, size]) => size)) + bytes > budget) return false;
    for (const [key, size] of others) {
      if (used + bytes <= budget) break;
      await this.#forget(key);
      used -= size;
    }
    return true;
  }

  async #forget(key: string): Promise<void> {
    this.#files?.delete(key);
    await rm(this.#path(key), { force: true }).catch(() => {});
  }

  /** Files of the folder, those of other runs too. */
  async #list(): Promise<Map<string, number>> {
    if (this.#files !== null) return this.#files;
    await removeAbandoned(this.#init.folder);
    const names = await readdir(this.#init.folder).catch(() => []);
    const found: { key: string; bytes: number; usedAt: number }[] = [];
    for (const name of names.filter((one) => one.endsWith(suffix))) {
      const about = await stat(join(this.#init.folder, name)).catch(() => null);
      if (about === null) continue;
      found.push({ key: name.slice(0, -suffix.length), bytes: about.size, usedAt: about.mtimeMs });
    }
    found.sort((a, b) => a.usedAt - b.usedAt);
    this.#files ??= new Map(found.map(({ key, bytes }) => [key, bytes]));
    return this.#files;
  }
}

interface Parsed {
  header: Header;
  payload: Uint8Array;
}

/** Null: no whole file of that name. */
function parse(file: Buffer, key: string): Parsed | null {
  const begin = magic.length + 4;
  if (file.length < begin || !file.subarray(0, magic.length).equals(magic)) return null;
  const length = file.readUInt32LE(magic.length);
  const payload = file.subarray(begin + length);
  try {
    const header = JSON.parse(file.toString("utf8", begin, begin + length)) as Header;
    const isWhole = createHash("sha256").update(payload).digest("hex") === header.sha256;
    return header.spec.name === key && isWhole ? { header, payload } : null;
  } catch {
    return null;
  }
}
