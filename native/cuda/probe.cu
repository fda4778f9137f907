// SPDX-License-Identifier: Apache-2.0
#include "cuda/probe.h"

#include "cuda/memory.h"
#include "cuda/status.h"

namespace baton::cuda {
namespace {

// A step of xorshift32: no constant folding and no rounding, so device and host agree in every bit.
__host__ __device__ inline uint32_t stir(uint32_t value) {
  value ^= value << 13;
  value ^= value >> 17;
  return value ^ (value << 5);
}

}  // namespace

// seeds[kProbeRows] -> seeds[kProbeRows], each block through shared memory from its other end.
__global__ void __launch_bounds__(kProbeThreads) probeKernel(uint32_t* seeds) {
  __shared__ uint32_t mirrored[kProbeThreads];
  const unsigned row = blockIdx.x * kProbeThreads + threadIdx.x;
  uint32_t value = seeds[row];
  for (int round = 0; round < kProbeRounds; ++round) value = stir(value);
  mirrored[kProbeThreads - 1 - threadIdx.x] = value;
  __syncthreads();
  seeds[row] = mirrored[threadIdx.x];
}

namespace {

BatonCudaStatus launchProbe(BatonCudaStream* stream, uint32_t* seeds) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(kProbeBlocks);
  config.blockDim = dim3(kProbeThreads);
  config.stream = stream->handle;
  return status("deviceProbe", cudaLaunchKernelEx(&config, probeKernel, seeds));
}

BatonCudaStatus compare(const uint32_t* got) {
  for (int row = 0; row < kProbeRows; ++row) {
    const int block = row / kProbeThreads;
    uint32_t value = uint32_t(block * kProbeThreads + kProbeThreads - row % kProbeThreads);
    for (int round = 0; round < kProbeRounds; ++round) value = stir(value);
    if (got[row] != value) return failed("deviceProbe: wrong numbers", cudaErrorUnknown);
  }
  return kBatonCudaOk;
}

BatonCudaStatus run(BatonCudaStream* stream, uint32_t* seeds) {
  uint32_t rows[kProbeRows];
  for (int row = 0; row < kProbeRows; ++row) rows[row] = uint32_t(row + 1);
  if (const auto bad = copyToDevice(stream, seeds, rows, sizeof rows)) return bad;
  if (const auto bad = launchProbe(stream, seeds)) return bad;
  if (const auto bad = copyToHost(stream, rows, seeds, sizeof rows)) return bad;
  if (const auto bad = streamSynchronize(stream)) return bad;
  return compare(rows);
}

}  // namespace

BatonCudaStatus deviceProbe(int32_t device) {
  BatonCudaStream* stream = nullptr;
  if (const auto bad = streamCreate(device, &stream)) return bad;
  void* seeds = nullptr;
  BatonCudaStatus done = deviceAllocate(device, kProbeRows * sizeof(uint32_t), &seeds);
  if (done == kBatonCudaOk) done = run(stream, static_cast<uint32_t*>(seeds));
  const BatonCudaStatus freed = deviceFree(device, seeds);
  const BatonCudaStatus gone = streamDestroy(stream);
  if (done != kBatonCudaOk) return done;
  return freed != kBatonCudaOk ? freed : gone;
}

}  // namespace baton::cuda
