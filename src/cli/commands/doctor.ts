// SPDX-License-Identifier: Apache-2.0
// baton doctor: what belongs in a bug report. The machine, its limits and the models on it; which kernels were chosen, and
// whether each agrees with its reference; what of CUDA is here, and on which device a model runs that is loaded for it. It
// says as much as it can where the compiled part cannot be loaded, and fails then.

import type { BatonError } from "../../errors.js";
import { InternalError, NativeLoadError } from "../../errors.js";
import { loadNative } from "../../native/load.js";
import type { CudaReport, DoctorReport } from "../../native/types.js";
import { emitWarnings } from "../../native/warnings.js";
import type { FoundModel, Surroundings } from "../surroundings.js";
import { surroundings, tilde } from "../surroundings.js";
import type { Terminal } from "../terminal.js";
import { formatBytes, formatTable, writeJson } from "../terminal.js";
import type { CliCommand } from "./command.js";

interface Engine extends DoctorReport {
  /** The file of the compiled part. */
  addon: string;
  availableMemory: number;
  device: { used: "cpu"; why: string };
  cuda: CudaReport;
}

function addonFile(): string {
  const { sharedObjects } = process.report.getReport() as { sharedObjects: string[] };
  return tilde(sharedObjects.find((one) => one.endsWith("baton.node")) ?? "unknown");
}

/** Throws NATIVE_LOAD. */
function askEngine(): Engine {
  const native = loadNative();
  const report = native.doctor();
  emitWarnings(native);
  const cuda = native.cudaReport();
  const device = { used: "cpu" as const, why: cuda.whyCpu };
  return { ...report, addon: addonFile(), availableMemory: native.availableMemory(), device, cuda };
}

const isSound = ({ kernels, replaced }: DoctorReport) =>
  kernels.every((one) => one.ok) && replaced.length === 0;

function cudaLines({ driver, library, matrixLibrary, devices }: CudaReport): string[] {
  if (driver === null) return [];
  const lines = devices.map(({ name, capability, memoryBytes, problem }, index) => {
    const state = problem === null ? "runs the library's code" : problem.message;
    return `          ${index}: ${name}, ${capability}, ${formatBytes(memoryBytes)}: ${state}`;
  });
  const products = matrixLibrary === null ? "" : `, library for products of BF16 ${matrixLibrary}`;
  return [`cuda      driver ${driver}, library ${library ?? "none"}${products}`, ...lines];
}

function modelLines(models: readonly FoundModel[]): string[] {
  return models.map(({ name, bytes }) => `          ${name}, ${formatBytes(bytes)}`);
}

function machineLines(found: Surroundings, engine: Engine | null): string[] {
  const { memory, limits, cache, hubCache } = found;
  const available = engine === null ? "" : `, ${formatBytes(engine.availableMemory)} available`;
  const most = limits.memoryBytes === null ? "no limit of memory" : formatBytes(limits.memoryBytes);
  const cpus = limits.cpus === null ? "no limit of CPUs" : `${Number(limits.cpus.toFixed(2))} CPUs`;
  const variables = Object.entries(found.environment);
  return [
    `baton     ${found.baton}`,
    `node      ${found.node} on ${found.platform}`,
    `system    ${found.os}${found.libc === null ? "" : `, ${found.libc}`}`,
    `memory    ${formatBytes(memory.total)}, ${formatBytes(memory.free)} free${available}`,
    `limits    ${most}, ${cpus}`,
    `cache     ${cache.folder}, ${formatBytes(cache.bytes)}`,
    ...modelLines(cache.models),
    `hub       ${hubCache.folder}${hubCache.models.length === 0 ? ", no model" : ""}`,
    ...modelLines(hubCache.models),
    ...variables.map(([name, value], at) => `${at === 0 ? "variables " : "          "}${name}=${value}`),
  ];
}

function engineLines(engine: Engine): string[] {
  const cap = engine.isaCap === null ? "" : ` (capped by BATON_ISA=${engine.isaCap})`;
  const none = "none: outputs cannot be constrained; `npx baton build` with Rust 1.87 or newer adds them";
  return [
    `addon     ${engine.addon}`,
    `cpu       ${engine.cpu}`,
    `features  ${engine.features.join(" ")}`,
    `kernels   ${engine.isa}${cap}`,
    `threads   ${engine.threads}`,
    `grammars  ${engine.grammars.join(", ") || none}`,
    `device    ${engine.device.used}: ${engine.device.why}`,
    ...cudaLines(engine.cuda),
    "",
    formatTable([
      ["kernel", "in use", "error against reference", "result"],
      ...engine.replaced.map(({ kernel, failed, by }) => [
        kernel,
        by,
        failed.error.toExponential(2),
        `replaces ${failed.isa}, WRONG in ${failed.op}`,
      ]),
      ...engine.kernels.map((one) => [one.op, one.isa, one.error.toExponential(2), one.ok ? "ok" : "WRONG"]),
    ]),
  ];
}

function write(terminal: Terminal, engine: Engine | null, problem: BatonError | null, json: boolean): void {
  const found = surroundings();
  if (json) {
    const what = problem === null ? null : { code: problem.code, message: problem.message };
    writeJson(terminal, { ...found, ...engine, problem: what, ok: engine !== null && isSound(engine) });
    return;
  }
  const lines = [...machineLines(found, engine), ...(engine === null ? [] : engineLines(engine))];
  terminal.stdout.write(`${lines.join("\n")}\n`);
}

export const doctorCommand: CliCommand = {
  register(program, { terminal }) {
    program
      .command("doctor")
      .option("--json", "print one JSON object")
      .description("show what belongs in a bug report, and test each kernel against its reference")
      .action(({ json }: { json?: boolean }) => {
        let engine: Engine | null = null;
        let problem: NativeLoadError | null = null;
        try {
          engine = askEngine();
        } catch (error) {
          if (!NativeLoadError.isInstance(error)) throw error;
          problem = error;
        }
        write(terminal, engine, problem, json === true);
        if (problem !== null) throw problem;
        if (engine === null || isSound(engine)) return;
        const wrong = [
          ...engine.replaced.map((one) => one.failed),
          ...engine.kernels.filter((one) => !one.ok),
        ];
        const names = wrong.map((one) => `${one.op} (${one.isa})`);
        throw new InternalError(
          `Kernels disagree with their reference on this machine: ${names.join(", ")}. ` +
            "Models run on others in their place; please report the output of `baton doctor --json`.",
          { facts: { kernels: names } },
        );
      });
  },
};
