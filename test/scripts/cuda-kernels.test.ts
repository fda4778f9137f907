// SPDX-License-Identifier: Apache-2.0
// What is read of a compiled kernel, and that every way of being worse than its budget is found.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { installedToolchain, pinnedFolder } from "../../scripts/cuda-toolchain.mjs";
import {
  blocksPerMultiprocessor,
  countOf,
  kernelFaults,
  kernelName,
  measure,
  multiprocessors,
  parsePtx,
  parseResources,
} from "../../scripts/lib/cuda-kernels.mjs";

// As nvcc 13.0 prints it.
const messages = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z1aPj' for 'sm_80'
ptxas info    : Function properties for _Z1aPj
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 512 bytes smem, 360 bytes cmem[0]
ptxas info    : Compile time = 5.295 ms
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z1aPj' for 'sm_90a'
ptxas info    : Function properties for _Z1aPj
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers
ptxas info    : Compile time = 14.295 ms
`;

const ptx = `.version 9.0
.visible .entry _Z1aPj(
	.param .u64 _Z1aPj_param_0
)
.maxntid 64, 2, 1
{
	.reg .b32 	%r<110>;
	ld.param.u64 	%rd1, [_Z1aPj_param_0];
$L__BB0_1:
	@%p1 bra 	$L__BB0_1;
	ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%r5];
	mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1, %f2, %f3, %f4}, {%r1}, {%r2}, {%f1};
	mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1, %f2, %f3, %f4}, {%r1}, {%r2}, {%f1};
	ret;
}
.visible .entry _Z1bv()
{
	st.local.u32 	[%rd1], %r1;
	ret;
}
`;

const kernel = () => {
  const found = parsePtx(ptx).get("_Z1aPj");
  if (found === undefined) throw new Error("not parsed");
  return { compiled: parseResources(messages).slice(0, 1), ptx: found };
};
const budget = {
  threads: 128,
  dynamicShared: 0,
  registers: 40,
  shared: 512,
  stack: 0,
  blocks: { 80: 12 },
  instructions: ["mma.sync", "ldmatrix"],
};

describe("a compiled kernel", () => {
  it("is read from what ptxas prints", () => {
    expect(parseResources(messages)).toEqual([
      { symbol: "_Z1aPj", target: 80, registers: 40, shared: 512, stack: 0, spills: 0 },
      { symbol: "_Z1aPj", target: 90, registers: 255, shared: 0, stack: 16, spills: 20 },
    ]);
    expect(() => parseResources("ptxas info : Compiling entry function 'x' for 'sm_80'\n")).toThrow("words");
  });

  it("is read from PTX", () => {
    const kernels = parsePtx(ptx);
    expect([...kernels.keys()]).toEqual(["_Z1aPj", "_Z1bv"]);
    const { threads, instructions } = kernel().ptx;
    expect(threads).toBe(128);
    expect(countOf(instructions, "mma.sync")).toBe(2);
    expect(countOf(instructions, "ldmatrix")).toBe(1);
    expect(countOf(instructions, "bra")).toBe(1);
    expect(countOf(instructions, "ld")).toBe(1);
    expect(kernels.get("_Z1bv")?.threads).toBeUndefined();
  });

  it("has a name without types of arguments", () => {
    expect(kernelName("baton::cuda::probeKernel(unsigned int*)")).toBe("probeKernel");
    expect(kernelName("void baton::cuda::(anonymous namespace)::norm<true>(baton::RmsNormArgs, int)")).toBe(
      "norm<true>",
    );
    expect(kernelName("void baton::cuda::attend<64, (bool)1, (baton::Kind)2>(Args)")).toBe(
      "attend<64, 1, (Kind)2>",
    );
  });
});

describe("a budget", () => {
  it("is kept by what it was measured from", () => {
    expect(kernelFaults(budget, kernel(), ["80"])).toEqual([]);
    expect(measure(kernel().compiled, { threads: 128, dynamicShared: 0 })).toMatchObject({
      registers: 40,
      shared: 512,
      blocks: { 80: 12 },
    });
  });

  it.each([
    [{ registers: 39 }, "sm_80: registers 40, budget 39"],
    [{ shared: 511 }, "sm_80: shared 512, budget 511"],
    [{ threads: 256 }, "has launch bounds of 128 threads, the budget says 256"],
    [{ blocks: { 80: 13 } }, "sm_80: 12 blocks on a multiprocessor, planned 13"],
    [{ dynamicShared: 164 * 1024 }, "sm_80: 0 blocks on a multiprocessor, planned 12"],
    [{ instructions: ["wgmma"] }, "its PTX has no wgmma"],
  ])("is broken by %j", (change, fault) => {
    expect(kernelFaults({ ...budget, ...change }, kernel(), ["80"])).toContain(fault);
  });

  it("is broken by spills, stack, local arrays and missing targets", () => {
    const [, spilled] = parseResources(messages);
    const local = parsePtx(ptx).get("_Z1bv");
    if (spilled === undefined || local === undefined) throw new Error("not parsed");
    const faults = kernelFaults(
      { ...budget, registers: 255, instructions: [] },
      { compiled: [spilled], ptx: local },
      ["80", "90"],
    );
    expect(faults).toContain("sm_90: stack 16, budget 0");
    expect(faults).toContain("sm_90: 20 bytes of spills");
    expect(faults).toContain("is compiled for 90");
    expect(faults).toContain("its PTX has st.local: an array that is not in registers");
  });
});

/** Prints what CUDA's own calculator says for every line "capability threads registers shared" on standard input. */
const calculator = `
#include <cuda_occupancy.h>
#include <cstdio>
int main() {
  int major, minor, perSm, sharedSm, threads, registers; size_t bytes;
  while (scanf("%d %d %d %d %d %d %zu", &major, &minor, &perSm, &sharedSm, &threads, &registers, &bytes) == 7) {
    cudaOccDeviceProp device;
    device.computeMajor = major; device.computeMinor = minor;
    device.maxThreadsPerBlock = 1024; device.maxThreadsPerMultiprocessor = perSm;
    device.regsPerBlock = 65536; device.regsPerMultiprocessor = 65536; device.warpSize = 32;
    device.sharedMemPerBlock = 48 << 10; device.sharedMemPerMultiprocessor = sharedSm;
    device.numSms = 1; device.sharedMemPerBlockOptin = sharedSm - 1024; device.reservedSharedMemPerBlock = 1024;
    cudaOccFuncAttributes kernel;
    kernel.maxThreadsPerBlock = 1024; kernel.numRegs = registers; kernel.sharedSizeBytes = 0;
    kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
    kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN; kernel.maxDynamicSharedSizeBytes = bytes;
    cudaOccDeviceState state; cudaOccResult result{};
    if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, bytes) != 0) return 1;
    printf("%d\\n", result.activeBlocksPerMultiprocessor);
  }
}`;

describe("occupancy", () => {
  it("is what CUDA's own cuda_occupancy.h says", (test) => {
    const toolchain = installedToolchain()?.folder ?? path.join(pinnedFolder(), "nvidia/cu13");
    const header = path.join(toolchain, "include/cuda_occupancy.h");
    test.skip(!existsSync(header), "no CUDA compiler is here; `npm run cuda:build` installs one");
    const folder = mkdtempSync(path.join(os.tmpdir(), "baton-occupancy-"));
    try {
      const [source, program] = [path.join(folder, "calculator.cpp"), path.join(folder, "calculator")];
      writeFileSync(source, calculator);
      execFileSync("c++", ["-I", path.dirname(header), source, "-o", program]);
      const lines: string[] = [];
      const ours: number[] = [];
      for (const [name, limits] of Object.entries(multiprocessors)) {
        const capability = Number(name) as keyof typeof multiprocessors;
        for (const threads of [32, 64, 96, 128, 160, 256, 384, 512, 1024])
          for (const registers of [16, 33, 40, 64, 96, 128, 168, 200, 240, 255])
            for (const shared of [0, 1, 4096, 17_000, 49_152, 65_536, 99_000, 166_000, 230_000]) {
              // CUDA refuses to launch these; its calculator answers as if it did not.
              if (shared > limits.shared - 1024) continue;
              const major = Math.floor(capability / 10);
              lines.push(
                `${major} ${capability % 10} ${limits.threads} ${limits.shared} ${threads} ${registers} ${shared}`,
              );
              ours.push(blocksPerMultiprocessor(capability, { threads, registers, shared }));
            }
      }
      const output = execFileSync(program, { encoding: "utf8", input: lines.join("\n") });
      const theirs = output.trim().split("\n").map(Number);
      expect(lines.length).toBeGreaterThan(3000);
      const different = lines.filter((_, index) => ours[index] !== theirs[index]);
      expect(different).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
