// SPDX-License-Identifier: Apache-2.0
// What measurements of our engine share: a model opened as rivals open theirs, cached rows, one output behind them.
import type { TrialSettings } from "../contract.js";
import { packageUrl } from "../runner/paths.js";
import { tokenIds } from "../tokens.js";

export type Package = typeof import("../../src/index.js");
export type Model = Awaited<ReturnType<Package["loadModel"]>>;
export type Segment = ReturnType<Model["engine"]["createSegment"]>;
type LoadOptions = NonNullable<Parameters<Package["loadModel"]>[1]>;

export const greedy = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 0 };

/** Nothing may be found again from an earlier repetition, and every token takes a forward of its own, as with rivals. */
export async function open(
  settings: TrialSettings,
  more: LoadOptions = {},
): Promise<{ library: Package; model: Model }> {
  const library = (await import(packageUrl)) as Package;
  const device = settings.device as NonNullable<LoadOptions["device"]>;
  const options = { device, threads: settings.threads, indexBytes: 0, drafting: "off" as const, ...more };
  return { library, model: await library.loadModel(settings.model, options) };
}

/** A closed segment of `rows` rows that reads nothing. */
export async function cached(model: Model, rows: number, seed = 1): Promise<Segment> {
  const segment = model.engine.createSegment({ kind: "input", start: 0, reads: [] });
  const tokens = Int32Array.from(tokenIds(rows, seed));
  await model.engine.run({ appends: [{ segment, tokens }], logits: "none" });
  model.engine.closeSegment(segment);
  return segment;
}

export interface Arrival {
  /** Milliseconds since `origin`. */
  at: number;
  tokens: number;
}

export interface Output {
  /** Absent: it reads nothing. */
  read?: Segment;
  /** Of what is read. */
  rows: number;
  opener: number;
  count: number;
  /** Absent: anything may be written. */
  grammar?: Awaited<ReturnType<Model["engine"]["compileGrammar"]>>;
  /** Of the clock; absent: when the segment is asked for. */
  origin?: number;
}

export interface Generated {
  arrivals: Arrival[];
  /** Milliseconds since `origin` by the engine's clock: its first token, its end. */
  begun: number;
  ended: number;
}

/** An output behind `rows` rows of `read`: `opener` tokens, then `count` generated ones. */
export async function generate(
  model: Model,
  { read, rows, opener, count, grammar, origin }: Output,
): Promise<Generated> {
  const arrivals: Arrival[] = [];
  const start = origin ?? performance.now();
  const segment = model.engine.createSegment({
    kind: "output",
    start: rows,
    reads: read === undefined ? [] : [{ segment: read, rows, shift: 0 }],
  });
  const only = grammar === undefined ? {} : { grammar };
  const limits = { closers: new Int32Array(0), stops: [], maxTokens: count, ...only };
  const submitted = performance.now() - start;
  const { stats } = await model.engine.run(
    {
      appends: [{ segment, tokens: Int32Array.from(tokenIds(opener, 7)) }],
      generate: { sampler: greedy, ...limits },
      logits: "none",
    },
    { onTokens: (ids) => arrivals.push({ at: performance.now() - start, tokens: ids.length }) },
  );
  model.engine.releaseSegment(segment);
  return { arrivals, begun: submitted + stats.firstTokenMs, ended: submitted + stats.totalMs };
}

/** Tokens per second between the first arrival and the last. */
export function rate(arrivals: readonly Arrival[]): number {
  const [first, ...later] = arrivals;
  const last = later.at(-1);
  if (first === undefined || last === undefined) throw new Error("all tokens arrived at once");
  return (later.reduce((sum, one) => sum + one.tokens, 0) * 1000) / (last.at - first.at);
}

/**
 * Tokens per second of outputs of `count` tokens each together, from the moment when all of them have begun until the last
 * one ends. Of those that began earlier as many are left out as they wrote until then, at the pace that they kept.
 */
export function rateTogether(outputs: readonly Pick<Generated, "begun" | "ended">[], count: number): number {
  const from = Math.max(...outputs.map(({ begun }) => begun));
  const to = Math.max(...outputs.map(({ ended }) => ended));
  const tokens = outputs.map(
    ({ begun, ended }) => ((count - 1) * Math.max(0, ended - from)) / (ended - begun),
  );
  const all = tokens.reduce((sum, one) => sum + one, 0);
  if (!(all > 0 && to > from)) throw new Error("the outputs were not written at the same time");
  return (all * 1000) / (to - from);
}
