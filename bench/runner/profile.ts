// SPDX-License-Identifier: Apache-2.0
// Why a case missed its target: where its time went, by operation, from the engine's trace of one more trial. Rows that
// were computed to get there (the context of a decode) are none of it.
import type { Task } from "../contract.js";
import type { ProfiledOp } from "./report.js";

interface TraceEvent {
  name: string;
  ph: string;
  cat?: string;
  /** Microseconds. */
  ts: number;
  dur: number;
  pid: number;
  tid: number;
  args: Record<string, number | string>;
}

/** Kinds of tasks that are steps of an engine, which a trace explains. */
export const profiledKinds: readonly Task["kind"][] = ["prefill", "decode", "handover", "batch", "kv"];

/** More rows than that in a forward are a context's, unless they are what is measured. */
const fewRows = 64;

/**
 * Shares of the time of the forwards that `task` is about, largest first; "between" is what a turn takes beside its
 * operations. Of several models in one process the last one counts.
 */
export function profileOf(trace: string, task: Task): ProfiledOp[] {
  const events = (JSON.parse(trace) as TraceEvent[]).filter(({ ph }) => ph === "X");
  const pid = Math.max(...events.map((one) => one.pid));
  const own = events.filter((one) => one.pid === pid);
  const forwards = own.filter(({ name, args }) => {
    return name === "forward" && (task.kind === "prefill" || Number(args["batch rows"]) <= fewRows);
  });
  // By its middle: times are rounded, so that ends may cross.
  const contains = (outer: TraceEvent, inner: TraceEvent) => {
    const middle = inner.ts + inner.dur / 2;
    return outer.tid === inner.tid && outer.ts <= middle && middle <= outer.ts + outer.dur;
  };
  const turns = own.filter(
    (one) => one.name === "turn" && forwards.some((forward) => contains(one, forward)),
  );
  const total = turns.reduce((sum, { dur }) => sum + dur, 0);
  const ops = new Map<string, { time: number; reached: number }>();
  for (const op of own) {
    if (op.cat !== "op" || !turns.some((turn) => contains(turn, op))) continue;
    const { time, reached } = ops.get(op.name) ?? { time: 0, reached: 0 };
    ops.set(op.name, {
      time: time + op.dur,
      reached: reached + (op.dur * Number(op.args["% of limit"] ?? 0)) / 100,
    });
  }
  const inOps = [...ops.values()].reduce((sum, { time }) => sum + time, 0);
  const all = [...ops].map(([op, { time, reached }]) => ({
    op,
    share: time / total,
    ofLimit: reached / time,
  }));
  const between = { op: "between", share: Math.max(0, 1 - inOps / total), ofLimit: 0 };
  return total > 0 ? [...all, between].sort((a, b) => b.share - a.share) : [];
}
