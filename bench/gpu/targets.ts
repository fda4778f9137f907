// SPDX-License-Identifier: Apache-2.0
// What the CUDA backend is to reach on a GPU: shares of what the same run measured as a ceiling, factors over what others
// have, a few rates that only hold for the device that they name. What was not measured is not met, and not missed.
import type { Failure, Figure, GpuRun } from "./lines.js";

export interface Ref {
  case: string;
  subject?: string;
  metric: string;
}

export interface Target {
  what: string;
  of: Ref;
  /** Absent: the figure itself counts. Of times the other's is divided by ours, else ours by the other's. */
  than?: Ref | "copy" | "gemm";
  least?: number;
  most?: number;
  unit: string;
  /** Part of a device's name for which alone it holds. */
  device?: string;
}

const time = (name: string, subject = "baton"): Ref => ({ case: name, subject, metric: "time" });
const bandwidth = (name: string): Ref => ({ case: name, metric: "bandwidth" });
const arithmetic = (name: string): Ref => ({ case: name, metric: "arithmetic" });

const chains = [
  "attend fan-out 8 on 512",
  "attend fan-out 8 on 4k",
  "attend fan-out 8 on 8k",
  "attend fragments",
];
const handover: Ref = { case: "gpu-handover-8192-llama3-8b-BF16", metric: "first-token" };
const peerHandover = "handover 8k llama3-8b";
const backward = "attend backward 10 % live";

export const targets: readonly Target[] = [
  {
    what: "attention of a prefill over a long list, heads of 128",
    of: arithmetic("attend prefill d128"),
    least: 270,
    unit: "TFLOP/s",
    device: "H100",
  },
  {
    what: "the same, heads of 64",
    of: arithmetic("attend prefill d64"),
    least: 240,
    unit: "TFLOP/s",
    device: "H100",
  },
  ...chains.map((name) => ({
    what: `${name}, against FlexAttention with its mask`,
    of: time(name),
    than: time(name, "flex + mask"),
    least: 1.5,
    unit: "x",
  })),
  {
    what: "hand-over behind 8,192 shared rows, Llama-3-8B shape, against prefilling them again (PyTorch, SDPA)",
    of: handover,
    than: time(peerHandover, "torch re-prefill"),
    least: 35,
    unit: "x",
  },
  {
    what: "the same against a peer that kept the prefix",
    of: handover,
    than: time(peerHandover, "torch cached prefix"),
    least: 2,
    unit: "x",
  },
  {
    what: "attention of decode, 252 MB of KV",
    of: bandwidth("attend decode 252 MB"),
    than: "copy",
    least: 0.85,
    unit: "of copy",
  },
  {
    what: "attention of decode, 31 MB of KV",
    of: bandwidth("attend decode 31 MB"),
    than: "copy",
    least: 0.6,
    unit: "of copy",
  },
  {
    what: "decode of 8 branches on a trunk of 8,192 rows that is read once, against once for each",
    of: time("attend 8192 shared by 8"),
    than: time("attend 8192 shared by 8, apart"),
    least: 1.5,
    unit: "x",
  },
  ...[2048, 8192].map((rows) => ({
    what: `append of ${rows} rows`,
    of: bandwidth(`append x${rows}`),
    than: "copy" as const,
    least: 0.75,
    unit: "of copy",
  })),
  {
    what: "decode, Llama-3.2-3B shape in Q4_0, batch 1",
    of: { case: "gpu-decode-llama32-3b-Q4_0-128", metric: "decode" },
    least: 600,
    unit: "tok/s",
    device: "H100",
  },
  {
    what: "decode, Llama-3-8B shape in bfloat16",
    of: { case: "gpu-decode-llama3-8b-BF16-128", metric: "bandwidth" },
    than: "copy",
    least: 0.75,
    unit: "of copy",
  },
  {
    what: "backward of attention, 10 % of the rows live, against FlexAttention over all rows",
    of: time(backward),
    than: time(backward, "flex all rows"),
    least: 8,
    unit: "x",
  },
  {
    what: "the same against FlexAttention over live queries only",
    of: time(backward),
    than: time(backward, "flex live queries"),
    least: 1,
    unit: "x",
  },
  {
    what: "a step of prompt tuning, Llama-3-8B shape, 64 rows behind 4,096 frozen ones, against PyTorch and PEFT",
    of: { case: "gpu-train-llama3-8b-BF16", metric: "step" },
    than: time("train step llama3-8b", "peft"),
    least: 20,
    unit: "x",
  },
  {
    what: "KV of eight branches behind a trunk of 8,192 rows, over that of one",
    of: { case: "gpu-batch-shared-8192", metric: "kv-growth" },
    most: 1.2,
    unit: "x",
  },
];

export interface Verdict {
  target: Target;
  value?: number;
  /** "not measured" always has a reason. */
  outcome: "met" | "missed" | "not measured" | "another device";
  why?: string;
}

const scales: Record<string, number> = { us: 1e-6, ms: 1e-3, "GB/s": 1e9, "TB/s": 1e12 };
const based = ({ median, unit }: Figure): number => median * (scales[unit] ?? 1);
const isTime = ({ unit }: Figure): boolean => unit === "us" || unit === "ms" || unit === "s";

/** The best that anybody reached of a ceiling. */
export function ceiling({ figures }: GpuRun, name: "copy" | "gemm"): Figure | undefined {
  const [of, metric] = name === "copy" ? ["copy", "bandwidth"] : ["gemm bf16", "arithmetic"];
  const all = figures.filter((one) => one.case === of && one.metric === metric);
  return all.sort((a, b) => b.median - a.median)[0];
}

function find({ figures }: GpuRun, { case: name, subject = "baton", metric }: Ref): Figure | undefined {
  return figures.find((one) => one.case === name && one.subject === subject && one.metric === metric);
}

function whyMissing({ failures, device }: GpuRun, ref: Ref | "copy" | "gemm"): string {
  const { case: name, subject = "baton" } = typeof ref === "string" ? { case: ref } : ref;
  const failed = failures.find(
    (one: Failure) => one.case === name && (one.subject === subject || one.subject === "all"),
  );
  if (failed !== undefined) return `${subject}: ${failed.why}`;
  return device === undefined ? "no GPU yet" : `no figure of ${subject} for ${name}`;
}

export function judge(run: GpuRun): Verdict[] {
  return targets.map((target) => {
    const { of, than, least = 0, most = Number.POSITIVE_INFINITY } = target;
    const ours = find(run, of);
    if (ours === undefined) return { target, outcome: "not measured", why: whyMissing(run, of) };
    let value = than === undefined ? ours.median : 0;
    if (than !== undefined) {
      const other = typeof than === "string" ? ceiling(run, than) : find(run, than);
      if (other === undefined) return { target, outcome: "not measured", why: whyMissing(run, than) };
      value = isTime(ours) ? based(other) / based(ours) : based(ours) / based(other);
    }
    if (target.device !== undefined && !run.device?.includes(target.device)) {
      return { target, value, outcome: "another device", why: `the target is of an ${target.device}` };
    }
    return { target, value, outcome: value >= least && value <= most ? "met" : "missed" };
  });
}
