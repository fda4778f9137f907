// SPDX-License-Identifier: Apache-2.0
// baton doctor: what this machine offers, which kernels were chosen, and whether each agrees with its reference; and
// what of CUDA is here, on which a model runs that is loaded for it.

import { InternalError } from "../../errors.js";
import { loadNative, platformTag } from "../../native/load.js";
import type { CudaReport, DoctorReport } from "../../native/types.js";
import { emitWarnings } from "../../native/warnings.js";
import type { Terminal } from "../terminal.js";
import { formatBytes, formatTable, writeJson } from "../terminal.js";
import type { CliCommand } from "./command.js";

interface Diagnosis extends DoctorReport {
  node: string;
  platform: string;
  availableMemory: number;
  device: { used: "cpu"; why: string };
  cuda: CudaReport;
  ok: boolean;
}

function diagnose(): Diagnosis {
  const native = loadNative();
  const report = native.doctor();
  emitWarnings(native);
  const cuda = native.cudaReport();
  return {
    ...report,
    node: process.version,
    platform: platformTag(),
    availableMemory: native.availableMemory(),
    device: { used: "cpu", why: cuda.whyCpu },
    cuda,
    ok: report.kernels.every((one) => one.ok) && report.replaced.length === 0,
  };
}

function cudaLines({ driver, library, matrixLibrary, devices }: CudaReport): string[] {
  if (driver === null) return [];
  const lines = devices.map(({ name, capability, memoryBytes, problem }, index) => {
    const state = problem === null ? "runs the library's code" : problem.message;
    return `          ${index}: ${name}, ${capability}, ${formatBytes(memoryBytes)}: ${state}`;
  });
  const products = matrixLibrary === null ? "" : `, library for products of BF16 ${matrixLibrary}`;
  return [`cuda      driver ${driver}, library ${library ?? "none"}${products}`, ...lines];
}

function print({ stdout }: Terminal, found: Diagnosis): void {
  const cap = found.isaCap === null ? "" : ` (capped by BATON_ISA=${found.isaCap})`;
  stdout.write(
    [
      `node      ${found.node} on ${found.platform}`,
      `cpu       ${found.cpu}`,
      `features  ${found.features.join(" ")}`,
      `kernels   ${found.isa}${cap}`,
      `threads   ${found.threads}`,
      `memory    ${formatBytes(found.availableMemory)} available`,
      `grammars  ${found.grammars.join(", ") || "none: outputs cannot be constrained; `npx baton build` with Rust 1.87 or newer adds them"}`,
      `device    ${found.device.used}: ${found.device.why}`,
      ...cudaLines(found.cuda),
      "",
      formatTable([
        ["kernel", "in use", "error against reference", "result"],
        ...found.replaced.map(({ kernel, failed, by }) => [
          kernel,
          by,
          failed.error.toExponential(2),
          `replaces ${failed.isa}, WRONG in ${failed.op}`,
        ]),
        ...found.kernels.map((one) => [one.op, one.isa, one.error.toExponential(2), one.ok ? "ok" : "WRONG"]),
      ]),
      "",
    ].join("\n"),
  );
}

export const doctorCommand: CliCommand = {
  register(program, { terminal }) {
    program
      .command("doctor")
      .option("--json", "print one JSON object")
      .description("show CPU features and chosen kernels, and test each kernel against its reference")
      .action(({ json }: { json?: boolean }) => {
        const found = diagnose();
        if (json === true) writeJson(terminal, found);
        else print(terminal, found);
        if (found.ok) return;
        const wrong = [...found.replaced.map((one) => one.failed), ...found.kernels.filter((one) => !one.ok)];
        const names = wrong.map((one) => `${one.op} (${one.isa})`);
        throw new InternalError(
          `Kernels disagree with their reference on this machine: ${names.join(", ")}. ` +
            "Models run on others in their place; please report the output of `baton doctor --json`.",
          { facts: { kernels: names } },
        );
      });
  },
};
