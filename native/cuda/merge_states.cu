// SPDX-License-Identifier: Apache-2.0
// mergeStates of attention.h: a warp for one head of one row; and merge of kernels/attend/attend.h,
// the same for two states, in place.
#include "cuda/attend.cuh"
#include "cuda/attention.h"
#include "cuda/lanes.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kPerLane = kMostHeadDim / kWarp;

__global__ void __launch_bounds__(kThreads)
    mergeStates(MergeStatesArgs a, size_t r0, size_t heads) {
  const size_t warp = (size_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;
  if (warp >= heads) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto H = static_cast<size_t>(a.H), D = static_cast<size_t>(a.D);
  const size_t r = r0 + warp / H, h = warp % H;
  const StateList list = a.lists[r];
  if (list.count < 0) return;  // of the whole warp
  const auto stateAt = [&](int i) {
    return (static_cast<size_t>(list.first) +
            static_cast<size_t>(i) * static_cast<size_t>(list.step)) *
               H +
           h;
  };
  float m = kNothing;
  for (int i = lane; i < list.count; i += kWarp) m = fmaxf(m, a.m[stateAt(i)]);
  m = overWarp(m, Largest{});
  float d = 0, o[kPerLane] = {};
  for (int i = 0; i < list.count; ++i) {
    const size_t state = stateAt(i);
    if (a.m[state] == kNothing) continue;  // left out, because o and d may hold anything
    const float weight = expf(a.m[state] - m);
    d += a.d[state] * weight;
    BATON_UNROLL
    for (int j = 0; j < kPerLane; ++j) {
      const int t = lane + j * kWarp;
      if (t < a.D) o[j] += a.o[state * D + static_cast<size_t>(t)] * weight;
    }
  }
  const bool nothing = d == 0;
  const float scale = nothing ? 0.0f : 1.0f / d;
  BATON_UNROLL
  for (int j = 0; j < kPerLane; ++j) {
    const int t = lane + j * kWarp;
    if (t < a.D) a.out[(r * H + h) * D + static_cast<size_t>(t)] = o[j] * scale;
  }
  if (a.lse != nullptr && lane == 0) a.lse[r * H + h] = nothing ? kNothing : m + logf(d);
}

__global__ void __launch_bounds__(kWarp) merge(MergeArgs a) {
  const int lane = static_cast<int>(threadIdx.x);
  const float m1 = *a.m, d1 = *a.d;
  const float m = m1 > a.m2 ? m1 : a.m2;
  const bool nothing = m == kNothing;
  const float w1 = nothing ? 0.0f : expf(m1 - m), w2 = nothing ? 0.0f : expf(a.m2 - m);
  for (int t = lane; t < a.D; t += kWarp) {
    const float first = w1 == 0 ? 0.0f : a.o[t] * w1;
    a.o[t] = w2 == 0 ? first : first + a.o2[t] * w2;
  }
  __syncwarp();  // every lane has read m and d
  if (lane != 0) return;
  *a.d = (w1 == 0 ? 0.0f : d1 * w1) + (w2 == 0 ? 0.0f : a.d2 * w2);
  if (!nothing) *a.m = m;
}

}  // namespace
}  // namespace cuda

void mergeStatesCuda(const MergeStatesArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const size_t heads = static_cast<size_t>(r1 - r0) * static_cast<size_t>(a.H);
  cuda::launch(cuda::mergeStates, dim3(cuda::blocksOf(heads, cuda::kThreads / cuda::kWarp)),
               cuda::kThreads, 0, a, static_cast<size_t>(r0), heads);
}

void mergeCuda(const MergeArgs& a) {
  cuda::launch(cuda::merge, dim3(1), cuda::kWarp, 0, a);
}

}  // namespace baton
