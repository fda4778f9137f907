// SPDX-License-Identifier: Apache-2.0
// quantize of rows.h: a warp for each group of 32, a lane for each number of it.
#include "cuda/int8_group.cuh"
#include "cuda/lanes.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 128;
static_assert(kGroup == kWarp);

__global__ void __launch_bounds__(kThreads) quantize(QuantizeArgs a, size_t first, size_t end) {
  const size_t group = first + (size_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;
  if (group >= end) return;  // the whole warp
  const unsigned lane = threadIdx.x % kWarp;
  const float x = a.x[group * kGroup + lane];
  const Int8Group of(overWarp(fabsf(x), Largest{}));
  const int q = of.quant(x);
  a.q[group * kGroup + lane] = static_cast<int8_t>(q);
  const int sum = overWarp(q, Sum{});
  if (lane != 0) return;
  a.d[group] = of.d;
  a.s[group] = of.d * static_cast<float>(sum);
}

}  // namespace
}  // namespace cuda

void quantizeCuda(const QuantizeArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const auto groups = static_cast<size_t>(a.K / kGroup);
  const size_t first = static_cast<size_t>(r0) * groups, end = static_cast<size_t>(r1) * groups;
  constexpr size_t kEach = cuda::kThreads / cuda::kWarp;
  cuda::launch(cuda::quantize, dim3(cuda::blocksOf(end - first, kEach)), cuda::kThreads, 0, a,
               first, end);
}

}  // namespace baton
