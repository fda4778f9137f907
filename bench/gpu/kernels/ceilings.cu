// SPDX-License-Identifier: Apache-2.0
#include "gpu/kernels/ceilings.h"

#include "cuda/launch.cuh"

namespace baton::bench {
namespace {

constexpr int kThreads = 256;
constexpr int kEach = 4;  // words of a thread, on their way at once

__global__ void __launch_bounds__(kThreads) emptyKernel() {}

// A block copies kThreads * kEach words; every load is beside those of the other threads.
__global__ void __launch_bounds__(kThreads) copyKernel(uint4* to, const uint4* from, size_t words) {
  const size_t first = static_cast<size_t>(blockIdx.x) * (kThreads * kEach) + threadIdx.x;
  uint4 held[kEach] = {};
  BATON_UNROLL
  for (int i = 0; i < kEach; ++i) {
    const size_t at = first + static_cast<size_t>(i) * kThreads;
    if (at < words) held[i] = from[at];
  }
  BATON_UNROLL
  for (int i = 0; i < kEach; ++i) {
    const size_t at = first + static_cast<size_t>(i) * kThreads;
    if (at < words) to[at] = held[i];
  }
}

}  // namespace

void emptyCuda() {
  cuda::launch(emptyKernel, dim3(1), kThreads, 0);
}

void copyCuda(void* to, const void* from, size_t bytes) {
  const size_t words = bytes / sizeof(uint4);
  cuda::launch(copyKernel, dim3(cuda::blocksOf(words, size_t{kThreads} * kEach)), kThreads, 0,
               static_cast<uint4*>(to), static_cast<const uint4*>(from), words);
}

}  // namespace baton::bench
