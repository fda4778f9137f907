// SPDX-License-Identifier: Apache-2.0
// A figure without its machine means nothing, and a model name alone ("AMD EPYC") does not tell what a core can do.
import { readFileSync } from "node:fs";
import os from "node:os";
import type { MachineKind } from "../contract.js";

export interface Machine {
  cpu: string;
  /** Family, model and stepping as /proc/cpuinfo gives them, e.g. "25.1.1"; empty where unknown. */
  cpuId: string;
  cores: number;
  /** Instruction sets that matter to the kernels. */
  isa: string[];
  cacheKiB: number;
  memoryGiB: number;
  kernel: string;
  node: string;
}

const relevant =
  /^(avx|avx2|fma|f16c|avx512f|avx512bw|avx512_vnni|avx_vnni|avx512_bf16|avx512_fp16|amx_tile|amx_int8|amx_bf16|asimd|asimddp|i8mm)$/;

/** Fields of the first processor of /proc/cpuinfo. */
function cpuFields(text: string): Map<string, string> {
  const first = text.split("\n\n", 1)[0] ?? "";
  return new Map(
    first.split("\n").map((line) => {
      const [key = "", value = ""] = line.split(/\s*:\s*/, 2);
      return [key.trim(), value];
    }),
  );
}

export function describeMachine(cpuinfo = readFileSync("/proc/cpuinfo", "utf8")): Machine {
  const fields = cpuFields(cpuinfo);
  const flags = (fields.get("flags") ?? fields.get("Features") ?? "").split(" ");
  const id = ["cpu family", "model", "stepping"].map((key) => fields.get(key)).filter(Boolean);
  return {
    cpu: fields.get("model name") ?? os.cpus()[0]?.model ?? "unknown",
    cpuId: id.join("."),
    cores: os.availableParallelism(),
    isa: flags.filter((flag) => relevant.test(flag)),
    cacheKiB: Number.parseInt(fields.get("cache size") ?? "0", 10),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    kernel: `${os.type()} ${os.release()}`,
    node: process.version,
  };
}

/** `cap`: what BATON_ISA allows, if it says. */
export function machineKind({ isa }: Pick<Machine, "isa">, cap?: string): MachineKind {
  if (cap === "scalar" || !isa.includes("avx2")) return "scalar";
  if (cap === "avx2" || !isa.includes("avx512f")) return "avx2";
  return cap === "avx512" || !isa.includes("amx_int8") ? "avx512" : "amx";
}

/** For file names: "amd-epyc-25.1.1-2c". */
export function machineSlug(machine: Machine): string {
  const words = `${machine.cpu} ${machine.cpuId} ${machine.cores}c`.toLowerCase();
  return words.replace(/[^a-z0-9.]+/g, "-").replace(/^-|-$/g, "");
}
