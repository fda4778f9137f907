// SPDX-License-Identifier: Apache-2.0
// One fixed set of segments that uses everything a row can depend on (soft rows, several reads, prefixes, shifts,
// segments longer than a piece of 256 rows), and the ways to write it that must not make a difference.

import { expect } from "vitest";
import type { EngineClient } from "../../src/native/engine-client.js";
import type { GenerateSpec, SegmentHandle, SegmentKind } from "../../src/native/types.js";
import type { Content } from "./support.js";
import { concatenated, plainSegment, run } from "./support.js";

interface Part {
  name: string;
  kind: SegmentKind;
  start: number;
  reads: { segment: string; rows: number; shift: number }[];
  content: Content;
}

/** The same numbers everywhere: a linear congruential generator, as integers below `limit`. */
export function randomInts(seed: number, count: number, limit: number): Int32Array {
  let state = BigInt(seed) * 2n + 1n;
  return Int32Array.from({ length: count }, () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number((state >> 33n) % BigInt(limit));
  });
}

export const randomRows = (seed: number, count: number, hidden: number): Float32Array =>
  Float32Array.from(randomInts(seed, count * hidden, 2001), (value) => (value - 1000) / 1000);

/** 8 soft rows and 4 segments of tokens; `out` ends at position 339. */
export function fixedProgram(hidden: number, vocab: number): Part[] {
  const prompt = { segment: "prompt", rows: 8, shift: 0 };
  return [
    { name: "prompt", kind: "prompt", start: -8, reads: [], content: randomRows(1, 8, hidden) },
    { name: "shared", kind: "input", start: 0, reads: [], content: randomInts(2, 277, vocab) },
    {
      name: "own",
      kind: "input",
      start: 277,
      reads: [prompt, { segment: "shared", rows: 277, shift: 0 }],
      content: randomInts(3, 21, vocab),
    },
    {
      name: "out",
      kind: "output",
      start: 298,
      reads: [prompt, { segment: "shared", rows: 277, shift: 0 }, { segment: "own", rows: 21, shift: 0 }],
      content: randomInts(4, 41, vocab),
    },
    {
      name: "reader", // out first, at 0; then all but the last rows of shared; nothing of own
      kind: "output",
      start: 302,
      reads: [
        { segment: "out", rows: 41, shift: -298 },
        { segment: "shared", rows: 261, shift: 41 },
      ],
      content: randomInts(5, 33, vocab),
    },
  ];
}

export interface Written {
  /** [rows, vocab] by segment. */
  logits: Map<string, Float32Array>;
  identities: Map<string, string>;
  /** Sampled tokens of a segment that reads `reader`. */
  sampled: number[];
}

/** How to write a program: sizes of appended pieces (the last one repeats), and in one job or one job a piece. */
export interface Way {
  pieces: readonly number[];
  jobs: "one" | "each piece";
}

export const inOneGo: Way = { pieces: [Number.POSITIVE_INFINITY], jobs: "each piece" };

function cut(content: Content, rowWidth: number, pieces: readonly number[]): Content[] {
  const parts: Content[] = [];
  for (let begin = 0, i = 0; begin < content.length; i++) {
    const size = pieces[Math.min(i, pieces.length - 1)] as number;
    const end = Math.min(begin + size * rowWidth, content.length);
    parts.push(content.slice(begin, end));
    begin = end;
  }
  return parts;
}

const sampling: GenerateSpec = {
  sampler: { temperature: 0.9, topK: 40, topP: 0.95, minP: 0, repetitionPenalty: 1.1, seed: 11 },
  closers: new Int32Array(),
  stops: [],
  maxTokens: 20,
};

interface Pending {
  part: Part;
  segment: SegmentHandle;
  content: Content;
}

export async function writeProgram(engine: EngineClient, parts: readonly Part[], way: Way): Promise<Written> {
  const { hidden, vocab } = engine.info();
  const handles = new Map<string, SegmentHandle>();
  const appends: Pending[] = [];
  for (const part of parts) {
    const reads = part.reads.map((read) => ({
      ...read,
      segment: handles.get(read.segment) as SegmentHandle,
    }));
    const segment = engine.createSegment({ kind: part.kind, start: part.start, reads });
    handles.set(part.name, segment);
    const width = part.content instanceof Float32Array ? hidden : 1;
    for (const content of cut(part.content, width, way.pieces)) appends.push({ part, segment, content });
  }
  const jobs = way.jobs === "one" ? [appends] : appends.map((one) => [one]);
  const found = new Map<string, Float32Array[]>();
  for (const job of jobs) {
    const { logits } = await run(engine, job);
    let row = 0;
    for (const { part, content } of job) {
      const rows = content instanceof Float32Array ? content.length / hidden : content.length;
      const list = found.get(part.name) ?? [];
      list.push(logits.slice(row * vocab, (row + rows) * vocab));
      found.set(part.name, list);
      row += rows;
    }
    expect(row * vocab).toBe(logits.length);
  }
  const sampled = await sampleAfter(engine, handles.get("reader") as SegmentHandle);
  const identities = new Map([...handles].map(([name, one]) => [name, engine.segmentInfo(one).identity]));
  for (const segment of handles.values()) engine.releaseSegment(segment);
  return {
    logits: new Map([...found].map(([name, list]) => [name, concatenated(list)])),
    identities,
    sampled,
  };
}

async function sampleAfter(engine: EngineClient, reader: SegmentHandle): Promise<number[]> {
  const { rows } = engine.segmentInfo(reader);
  const segment = engine.createSegment({
    kind: "output",
    start: rows,
    reads: [{ segment: reader, rows, shift: -302 }],
  });
  const { tokens } = await run(engine, [{ segment, content: Int32Array.of(1) }], {
    logits: "none",
    generate: sampling,
  });
  engine.releaseSegment(segment);
  return tokens;
}

/** Keeps other jobs in flight while `work` runs: long prefills and generations, again and again. */
export async function amongOthers<T>(engine: EngineClient, work: () => Promise<T>): Promise<T> {
  const { vocab } = engine.info();
  let wanted = true;
  let turns = 0;
  const disturb = async (seed: number) => {
    while (wanted) {
      const segment = engine.createSegment({ ...plainSegment, reads: [] });
      const content = randomInts(seed + turns++, 3 + ((seed * 37) % 90), vocab);
      await run(engine, [{ segment, content }], {
        logits: "none",
        generate: { ...sampling, maxTokens: 5 + seed },
      });
      engine.releaseSegment(segment);
    }
  };
  const others = [1, 2, 3].map(disturb);
  try {
    return await work();
  } finally {
    wanted = false;
    await Promise.all(others);
    expect(turns).toBeGreaterThan(0);
  }
}

/** Index of the first number whose bits differ; -1: none. */
export function firstDifference(ours: Float32Array, wanted: Float32Array): number {
  if (ours.length !== wanted.length) return Math.min(ours.length, wanted.length);
  const a = new Uint32Array(ours.buffer, ours.byteOffset, ours.length);
  const b = new Uint32Array(wanted.buffer, wanted.byteOffset, wanted.length);
  return a.findIndex((bits, i) => bits !== b[i]);
}

export function expectSameBits(ours: Written, wanted: Written, what: string): void {
  expect([...ours.logits.keys()]).toEqual([...wanted.logits.keys()]);
  for (const [name, logits] of ours.logits) {
    expect(firstDifference(logits, wanted.logits.get(name) as Float32Array), `${what}, ${name}`).toBe(-1);
  }
  expect(ours.identities, what).toEqual(wanted.identities);
  expect(ours.sampled, what).toEqual(wanted.sampled);
}
