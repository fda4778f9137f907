// SPDX-License-Identifier: Apache-2.0
// Trace files as tests read them.

import { readFileSync } from "node:fs";

/** A complete event; times in whole nanoseconds. */
export interface TraceEvent {
  name: string;
  cat: string;
  begin: number;
  end: number;
  pid: number;
  tid: number;
  args: Record<string, number | string>;
}

export interface Trace {
  events: TraceEvent[];
  /** pid -> name of the model. */
  models: Map<number, string>;
  /** tid -> its pid and name. */
  threads: Map<number, { pid: number; name: string }>;
  /** pid -> what is shown beside the name. */
  labels: Map<number, string>;
}

interface RawEvent {
  name: string;
  ph: string;
  cat: string;
  ts: number;
  dur: number;
  pid: number;
  tid: number;
  args: Record<string, number | string>;
}

/** Throws where the text is no JSON array; `cut`: of a process that was killed, whose bracket is missing. */
export function parseTrace(text: string, cut = false): Trace {
  const raw = JSON.parse(cut ? `${text}]` : text) as RawEvent[];
  const trace: Trace = { events: [], models: new Map(), threads: new Map(), labels: new Map() };
  for (const { name, ph, cat, ts, dur, pid, tid, args } of raw) {
    if (ph === "X") {
      const begin = Math.round(ts * 1000);
      trace.events.push({ name, cat, begin, end: begin + Math.round(dur * 1000), pid, tid, args });
    } else if (name === "process_name") trace.models.set(pid, String(args.name));
    else if (name === "process_labels") trace.labels.set(pid, String(args.labels));
    else if (name === "thread_name") trace.threads.set(tid, { pid, name: String(args.name) });
    else throw new Error(`an event of phase ${ph} named ${name}`);
  }
  return trace;
}

export const readTrace = (file: string, cut = false) => parseTrace(readFileSync(file, "utf8"), cut);

/** Pairs of events of one thread that overlap without one holding the other. */
export function crossings({ events }: Trace): string[] {
  const found: string[] = [];
  for (const tid of new Set(events.map((one) => one.tid))) {
    const line = events.filter((one) => one.tid === tid).sort((a, b) => a.begin - b.begin || b.end - a.end);
    const open: TraceEvent[] = [];
    for (const event of line) {
      while ((open.at(-1)?.end ?? Number.POSITIVE_INFINITY) <= event.begin) open.pop();
      const outer = open.at(-1);
      if (outer !== undefined && event.end > outer.end) found.push(`${outer.name} and ${event.name}`);
      open.push(event);
    }
  }
  return found;
}

/** The events of operations whose name begins with `name`, with their figures summed. */
export function sumOf({ events }: Trace, name: string) {
  const ops = events.filter((one) => one.cat === "op" && one.name.startsWith(name));
  const sum = (field: string) => ops.reduce((total, { args }) => total + Number(args[field]), 0);
  return { count: ops.length, rows: sum("rows"), bytes: sum("bytes"), flop: sum("FLOP") };
}
