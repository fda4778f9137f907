// SPDX-License-Identifier: Apache-2.0
// quantize of rows.h: a warp for each group of 32, a lane for each number of it.
#include "cuda/lanes.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr float kTiniest = 1e-30f;
static_assert(kGroup == kWarp);

__global__ void __launch_bounds__(kThreads) quantize(QuantizeArgs a, size_t first, size_t end) {
  const size_t group = first + (size_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;
  if (group >= end) return;  // the whole warp
  const unsigned lane = threadIdx.x % kWarp;
  const float x = a.x[group * kGroup + lane];
  const float largest = overWarp(fabsf(x), Largest{});
  const bool zero = largest < kTiniest;
  const float d = zero ? 0.0f : largest / 127.0f;
  const float inverse = zero ? 0.0f : 127.0f / largest;
  const int value = static_cast<int>(rintf(x * inverse));
  const int q = value > 127 ? 127 : value < -127 ? -127 : value;
  a.q[group * kGroup + lane] = static_cast<int8_t>(q);
  const int sum = overWarp(q, Sum{});
  if (lane != 0) return;
  a.d[group] = d;
  a.s[group] = d * static_cast<float>(sum);
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
