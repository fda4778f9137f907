// SPDX-License-Identifier: Apache-2.0
// Training data: a JSONL file, or any iterable of records. Every record is checked before the first step, and a bad one
// is named by its line. Of a file only the places of its records are kept; each is read when its item is prepared, and
// must then still be what was checked.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { basename } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { DataChangedError, DataInvalidError, IoError, OptionInvalidError } from "../errors.js";
import type { Origin, RecordValues } from "./record.js";
import { dataInvalid, typeOf } from "./record.js";

/** Path of a JSONL file, or records. */
export type DataSource = string | Iterable<unknown> | AsyncIterable<unknown>;

/** A record that was checked. */
export interface DataItem {
  readonly origin: Origin;
  /** Throws DATA_CHANGED, IO. */
  read(): Promise<RecordValues>;
  /** Throws DATA_CHANGED if `read` would; cheap as long as nobody has written to the file. */
  verify(): Promise<void>;
}

export interface DataSet {
  /** At least one. */
  items: readonly DataItem[];
  /** SHA-256, hex, of all records' texts in order: two sources of the same records have the same. */
  hash: string;
}

/** What becomes of a record. Both throw DATA_INVALID; `check` CONTEXT_LIMIT and CHAIN_INVALID, too. */
export interface RecordReader {
  /** From what it says to what the chain calls it; every time it is read. */
  parse(record: unknown, origin: Origin): RecordValues;
  /** Whether it can be learned from; once, before the first step. */
  check(values: RecordValues, origin: Origin): void;
}

/** `name`: what the source is called in messages where it has no file name: "data", "dev". */
export async function openData(
  source: DataSource,
  name: string,
  reader: RecordReader,
  signal?: AbortSignal,
): Promise<DataSet> {
  signal?.throwIfAborted();
  const hash = createHash("sha256");
  const items: DataItem[] = [];
  let breathed = performance.now();
  const add = async (item: DataItem, values: RecordValues) => {
    if (performance.now() - breathed > mostBlockedMs) {
      await nextTurn(); // checking tokenises: let timers and signals through
      breathed = performance.now();
    }
    signal?.throwIfAborted();
    items.push(item);
    for (const part of [...values.texts].flat()) hash.update(`${Buffer.byteLength(part)}:${part}`);
    hash.update("\n");
  };
  if (typeof source === "string") await readFileOnce(source, reader, add, signal);
  else await readRecords(source, name, reader, add);
  if (items.length > 0) return { items, hash: hash.digest("hex") };
  const label = typeof source === "string" ? source : `\`${name}\``;
  throw new DataInvalidError(`${label} has no record. Give at least one.`, { facts: { source: label } });
}

type AddItem = (item: DataItem, values: RecordValues) => Promise<void>;

const mostBlockedMs = 20;

async function readRecords(
  source: Iterable<unknown> | AsyncIterable<unknown>,
  name: string,
  reader: RecordReader,
  add: AddItem,
): Promise<void> {
  const isIterable =
    typeof source === "object" &&
    source !== null &&
    (Symbol.iterator in source || Symbol.asyncIterator in source);
  if (!isIterable) {
    throw new OptionInvalidError(
      `\`${name}\` is of type ${typeOf(source)}, which must be the path of a JSONL file, or records to be iterated over.`,
      { facts: { option: name, value: typeOf(source) } },
    );
  }
  let index = 0;
  for await (const record of source) {
    const origin = { label: `${name}[${index}]`, facts: { source: name, index } };
    const values = reader.parse(record, origin);
    reader.check(values, origin);
    await add({ origin, read: async () => values, verify: async () => {} }, values);
    index += 1;
  }
}

// ---- files

const newline = 0x0a;

interface Line {
  /** Counted from 1. */
  number: number;
  /** Of its first byte in the file. */
  offset: number;
  bytes: Uint8Array;
}

function ioError(path: string, cause: unknown): IoError {
  const { code = "", message } = cause as NodeJS.ErrnoException;
  return new IoError(`${path} cannot be read: ${message}. Check the path and its permissions.`, {
    facts: { path, code },
    cause,
  });
}

/** Lines without their end, empty ones too. */
async function* linesOf(path: string, signal?: AbortSignal): AsyncGenerator<Line> {
  let rest: Uint8Array = new Uint8Array();
  let offset = 0;
  let number = 0;
  const stream = createReadStream(path, signal === undefined ? {} : { signal });
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      let from = 0;
      for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, from)) {
        const bytes = Buffer.concat([rest, chunk.subarray(from, end)]);
        number += 1;
        yield { number, offset, bytes };
        offset += bytes.length + 1;
        rest = new Uint8Array();
        from = end + 1;
      }
      rest = Buffer.concat([rest, chunk.subarray(from)]);
    }
  } catch (cause) {
    if (signal?.aborted) throw signal.reason;
    throw cause instanceof Error && "syscall" in cause ? ioError(path, cause) : cause;
  }
  if (rest.length > 0) yield { number: number + 1, offset, bytes: rest };
}

const digestOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("base64");

const isBlank = (bytes: Uint8Array) => bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);

function parseLine({ number, bytes }: Line, origin: Origin): unknown {
  let text: string;
  try {
    // the first line may begin with a byte order mark, which the decoder takes away
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: number > 1 }).decode(bytes);
  } catch {
    throw dataInvalid(origin, "", "is not UTF-8", "Save the file as UTF-8, one JSON object per line.");
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = (error as Error).message;
    throw dataInvalid(
      origin,
      "",
      `is not JSON (${why})`,
      "Write one JSON object per line, without line breaks in it.",
    );
  }
}

async function readFileOnce(
  path: string,
  reader: RecordReader,
  add: AddItem,
  signal?: AbortSignal,
): Promise<void> {
  const file = new DataFile(path, await DataFile.stamp(path));
  for await (const line of linesOf(path, signal)) {
    if (isBlank(line.bytes)) continue;
    const origin = {
      label: `${basename(path)}:${line.number}`,
      facts: { source: path, line: line.number },
    };
    const values = reader.parse(parseLine(line, origin), origin);
    reader.check(values, origin);
    await add(file.item(line, origin, reader), values);
  }
  const { size, mtimeMs } = await DataFile.stamp(path);
  if (size !== file.stamp.size || mtimeMs !== file.stamp.mtimeMs) throw file.changed("while it was read");
}

interface Stamp {
  size: number;
  mtimeMs: number;
}

/** A file whose records have been checked. */
class DataFile {
  readonly path: string;
  readonly stamp: Stamp;

  constructor(path: string, stamp: Stamp) {
    this.path = path;
    this.stamp = stamp;
  }

  static async stamp(path: string): Promise<Stamp> {
    try {
      return await stat(path);
    } catch (cause) {
      throw ioError(path, cause);
    }
  }

  changed(what: string, origin?: Origin): DataChangedError {
    return new DataChangedError(
      `${this.path} has changed ${what}. Keep the file as it is while a run goes on; start the run again to use the new one.`,
      { facts: { source: this.path, ...origin?.facts } },
    );
  }

  item(line: Line, origin: Origin, reader: RecordReader): DataItem {
    const { number, offset } = line;
    const { length } = line.bytes;
    const digest = digestOf(line.bytes);
    const bytesNow = async () => {
      const { size } = await DataFile.stamp(this.path);
      if (size !== this.stamp.size) {
        throw this.changed(`from ${this.stamp.size} bytes to ${size} since it was checked`, origin);
      }
      const bytes = await this.#read(offset, length);
      if (digestOf(bytes) !== digest) throw this.changed(`in line ${number} since it was checked`, origin);
      return bytes;
    };
    return {
      origin,
      read: async () => reader.parse(parseLine({ number, offset, bytes: await bytesNow() }, origin), origin),
      verify: async () => {
        const { size, mtimeMs } = await DataFile.stamp(this.path);
        if (size !== this.stamp.size || mtimeMs !== this.stamp.mtimeMs) await bytesNow();
      },
    };
  }

  /** What stands there now, perhaps less than `length` bytes. */
  async #read(offset: number, length: number): Promise<Uint8Array> {
    try {
      const file = await open(this.path, "r");
      try {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
        return buffer.subarray(0, bytesRead);
      } finally {
        await file.close();
      }
    } catch (cause) {
      throw ioError(this.path, cause);
    }
  }
}
