// SPDX-License-Identifier: Apache-2.0
// Snapshots of runs: the KV that a later step still reads, and the record of what the run has learned. A run that resumes
// one goes through all of its steps again, which cost nothing where the record has their outcome, and takes segments over
// where they stood. Rows that the snapshot does not have are computed again from their tokens.

import { createHash } from "node:crypto";
import type { Segment } from "../cache/segment.js";
import { mismatch } from "../cache/snapshot/binding.js";
import type { SnapshotHeader } from "../cache/snapshot/header.js";
import { damaged, isObject } from "../cache/snapshot/header.js";
import type { SnapshotSource } from "../cache/snapshot/places.js";
import type { RestoredSnapshot, RestoreOptions, TakenSegment } from "../cache/snapshot/read.js";
import { readSnapshot } from "../cache/snapshot/read.js";
import type { SnapshotInit } from "../cache/snapshot/write.js";
import type { SegmentId } from "./plan.js";
import { planChain } from "./plan.js";
import type { Entry } from "./run-record.js";
import { checkEntries } from "./run-snapshot-check.js";
import type { RunState } from "./run-state.js";
import type { Step } from "./steps/step.js";
import type { Layout, ResumeReport } from "./types.js";

const kind = "run";

export interface SavedRow {
  id: SegmentId;
  /** What it reads. */
  reads: readonly SegmentId[];
}

/** What is written beside the rows. */
export interface SavedRun {
  /** Hash of the definition. */
  chain: string;
  /** Hashes of prompts, by the site of their stage. */
  prompts: Readonly<Record<string, string>>;
  inputs: Readonly<Record<string, string>>;
  entries: readonly Entry[];
  /** Of the snapshot's segments. */
  segments: readonly SavedRow[];
}

/** Of everything in a definition that decides rows; the program's functions and the prompts' values are not in it. */
export function chainHash(steps: readonly Step[], layout: Layout): string {
  const describe = (list: readonly Step[]): unknown[] =>
    list.map(({ name, claims, given, settings, runs, closed, apart, bound, body = [] }) => {
      const { prompt = null, drafting: _, ...generates } = settings ?? {};
      const own = { name, claims, given, closed, apart, bound, ...runs };
      return { ...own, generates, prompted: prompt !== null, body: describe(body) };
    });
  const { segments, inputs } = planChain(steps);
  const parts = { layout, steps: describe(steps), segments, inputs };
  const text = JSON.stringify(parts, (_, value) => {
    if (value instanceof Map) return [...value];
    return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
  });
  return createHash("sha256").update(text).digest("hex");
}

const promptHashes = ({ prompts }: RunState): Record<string, string> =>
  Object.fromEntries([...prompts].map(([site, { hash }]) => [site, hash]));

/** Of the run as it stands now. */
export function runContent(
  state: RunState,
  steps: readonly Step[],
  inputs: Readonly<Record<string, string>>,
): SnapshotInit {
  const saved = state.saved();
  const run: SavedRun = {
    chain: chainHash(steps, state.layout),
    prompts: promptHashes(state),
    inputs,
    entries: state.record.entries(),
    segments: saved.map(({ id }) => ({ id, reads: state.segment(id).reads })),
  };
  const segments = saved.map(({ id, segment, rows }) => ({
    entry: { kind: state.segment(id).kind, start: segment.start, rows: rows.length },
    segment,
    rows,
  }));
  return { model: state.model, of: kind, segments, state: run };
}

/** Segments of a snapshot by what the run calls them. */
export class RestoredRun {
  readonly #snapshot: RestoredSnapshot;
  readonly #places: Map<SegmentId, number>;

  constructor(snapshot: RestoredSnapshot, places: Map<SegmentId, number>) {
    this.#snapshot = snapshot;
    this.#places = places;
  }

  /** Rows that are there of a segment with these tokens at `start`: none if it had others, or stood elsewhere. */
  rowsOf(id: SegmentId, tokens: Int32Array, start: number): number {
    const place = this.#places.get(id);
    if (place === undefined || this.#snapshot.header.segments[place]?.start !== start) return 0;
    const rows = this.#snapshot.rowsOf(place);
    return rows.length <= tokens.length && rows.every((row, i) => row === tokens[i]) ? rows.length : 0;
  }

  /** Some of its `rows` rows are there, and not all. */
  isPart(id: SegmentId, rows: number): boolean {
    const place = this.#places.get(id);
    return place !== undefined && this.#snapshot.rowsOf(place).length < rows;
  }

  take(id: SegmentId, taken: TakenSegment): Segment {
    const place = this.#places.get(id) as number;
    this.#places.delete(id); // once
    return this.#snapshot.take(place, taken);
  }

  release(): void {
    this.#snapshot.release();
  }
}

export interface Resume extends RestoreOptions {
  from: SnapshotSource;
}

/**
 * Reads the snapshot and gives the run what it has; prompts must be loaded. Rejects with KV_MISMATCH for another chain or
 * prompt and what `readSnapshot` rejects with. Returns the inputs.
 */
export async function restoreRun(
  state: RunState,
  steps: readonly Step[],
  { from, ...options }: Resume,
): Promise<{ inputs: SavedRun["inputs"]; report: ResumeReport }> {
  let saved: SavedRun | undefined;
  let changed: string[] = [];
  const check = (header: SnapshotHeader, label: string) => {
    saved = checkRun(state, header, label);
    const expected = chainHash(steps, state.layout);
    if (saved.chain !== expected) {
      throw mismatch(label, { field: "chain", what: "chain", expected, found: saved.chain });
    }
    changed = changedPrompts(state, saved, label, options.partial ?? false);
  };
  const snapshot = await readSnapshot(state.model, kind, from, { ...options, check });
  const run = saved as SavedRun;
  const { kept, dropped } = cut(run.entries, changed);
  const lost = lostSegments(run, changed, dropped);
  const places = new Map(run.segments.map(({ id }, index) => [id, index]));
  for (const id of lost) places.delete(id);
  const rows = [...places.values()].reduce((sum, index) => sum + snapshot.rowsOf(index).length, 0);
  state.resume(new RestoredRun(snapshot, places), kept);
  const count = (entries: readonly Entry[]) => entries.filter(([what]) => what === "end").length;
  const stages = { stages: count(kept), stagesLeftOut: count(run.entries) - count(kept) };
  const fault = snapshot.fault ?? (changed.length > 0 ? `another prompt of ${changed.join(", ")}` : null);
  const report = { rows, rowsLeftOut: snapshot.header.rows - rows, ...stages, fault };
  return { inputs: run.inputs, report };
}

function checkRun(state: RunState, header: SnapshotHeader, label: string): SavedRun {
  const saved = header.state;
  const isTexts = (value: unknown) =>
    isObject(value) && Object.values(value).every((one) => typeof one === "string");
  const isRow = (value: unknown) =>
    isObject(value) &&
    typeof value.id === "string" &&
    Array.isArray(value.reads) &&
    isTexts({ ...value.reads });
  const whole =
    isObject(saved) &&
    typeof saved.chain === "string" &&
    isTexts(saved.prompts) &&
    isTexts(saved.inputs) &&
    Array.isArray(saved.segments) &&
    saved.segments.length === header.segments.length &&
    saved.segments.every(isRow) &&
    checkEntries(saved.entries, state.model.info.vocab);
  if (!whole) throw damaged(label, "header", "its header does not say what the run had done");
  return saved as unknown as SavedRun;
}

/** Sites of stages whose prompt is another one than the snapshot's. */
function changedPrompts(state: RunState, saved: SavedRun, label: string, partial: boolean): string[] {
  const now = promptHashes(state);
  const changed: string[] = [];
  for (const [site, found] of Object.entries(saved.prompts)) {
    const expected = now[site];
    if (expected === found) continue;
    if (!partial) {
      throw mismatch(label, {
        field: `prompt of ${site}`,
        what: `prompt of stage "${site}"`,
        expected,
        found,
      });
    }
    changed.push(site);
  }
  return changed;
}

const siteOf = (id: SegmentId): string => id.replaceAll(/\[\d+\]/g, "");

/** What was learned before any stage of a changed prompt began: nothing of it can depend on that prompt. */
function cut(entries: readonly Entry[], changed: readonly string[]) {
  const begins = ([what, name]: Entry) => what !== "answer" && changed.includes(siteOf(name));
  const first = entries.findIndex(begins);
  const kept = first < 0 ? entries : entries.slice(0, first);
  const known = new Set(kept.filter(([what]) => what === "end" || what === "part").map(([, name]) => name));
  const dropped = entries.slice(kept.length).filter(([what, name]) => what !== "answer" && !known.has(name));
  return { kept, dropped: new Set(dropped.map(([, name]) => name)) };
}

/** Segments that read a changed prompt, or an output that is written again, directly or through others. */
function lostSegments(
  { segments }: SavedRun,
  changed: readonly string[],
  dropped: ReadonlySet<SegmentId>,
): Set<SegmentId> {
  const lost = new Set<SegmentId>([...dropped, ...changed.map((site) => `prompt of ${site}`)]);
  for (let before = -1; before < lost.size; ) {
    before = lost.size;
    for (const { id, reads } of segments) if (reads.some((one) => lost.has(one))) lost.add(id);
  }
  return lost;
}
