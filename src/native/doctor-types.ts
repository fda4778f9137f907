// SPDX-License-Identifier: Apache-2.0
// The seam's part of what this machine offers: kernels, and what there is of CUDA (`baton doctor`).

import type { IsaName } from "./model-types.js";

export interface KernelReport {
  op: string;
  /** Instruction set whose kernel it is. */
  isa: IsaName;
  /** Largest relative error against the scalar reference on the self-test data. */
  error: number;
  ok: boolean;
}

/** A kernel that was wrong on this machine, and whose instruction set's kernel runs in its place. */
export interface KernelReplacement {
  kernel: string;
  /** The check that it missed by most. */
  failed: KernelReport;
  by: IsaName;
}

export interface DoctorReport {
  cpu: string;
  /** What CPU and OS allow, e.g. ["avx2", "fma", "avx512f", ...]. */
  features: string[];
  isa: IsaName;
  isaCap: string | null;
  threads: number;
  /** The kernels in use. */
  kernels: KernelReport[];
  replaced: KernelReplacement[];
  /** What makes grammars of `output` options, by name and version; none: this build has no grammars. */
  grammars: string[];
}

/** Why something cannot be used; codes are those of errors.ts. */
export interface NativeProblem {
  code: string;
  message: string;
  /** For DEVICE_UNAVAILABLE: device, reason (native/device/cuda_library.h) and what the message says. */
  facts: Record<string, string | number>;
}

export interface CudaDeviceReport {
  name: string;
  /** Compute capability, e.g. "9.0". */
  capability: string;
  /** Of the whole device. */
  memoryBytes: number;
  problem: NativeProblem | null;
}

/** What there is of CUDA on this machine. A kernel is run on each device that is new enough. */
export interface CudaReport {
  /** CUDA version of the driver, e.g. "13.0"; null without one. */
  driver: string | null;
  devices: CudaDeviceReport[];
  /** The file of the CUDA library; null where none was loaded. */
  library: string | null;
  /** What makes products of many rows of BF16 weights: "cuBLASLt 13.0.2", or "none" and why; null without the library. */
  matrixLibrary: string | null;
  /** The first thing that is in the way of every device. */
  problem: NativeProblem | null;
  /** Why `device: "auto"` takes the CPU here, in one sentence. */
  whyCpu: string;
}
