// SPDX-License-Identifier: Apache-2.0
// rmsnorm and dRmsnorm of rows.h and drows.h: a block for each row. A thread reads and writes the
// same numbers in both passes over the row, so it may be computed in place.
#include "cuda/lanes.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

__device__ inline float dot(float4 a, float4 b) {
  return a.x * b.x + a.y * b.y + (a.z * b.z + a.w * b.w);
}

template <bool kFours>
__global__ void __launch_bounds__(kMostRowThreads) rmsnorm(RmsNormArgs a, int r0) {
  const auto M = static_cast<size_t>(a.M);
  const size_t row = (static_cast<size_t>(r0) + blockIdx.x) * M;
  const float* x = a.x + row;
  float* y = a.y + row;
  const size_t begin = size_t{4} * threadIdx.x, step = size_t{4} * blockDim.x;
  float squares = 0;
  for (size_t i = begin; i < M; i += step) {
    const float4 v = loadFour<kFours>(x, i, M);
    squares += dot(v, v);
  }
  squares = overBlock(squares, sharedMemory<float>(), Sum{});
  const float scale = 1.0f / sqrtf(squares / static_cast<float>(a.M) + a.epsilon);
  for (size_t i = begin; i < M; i += step) {
    const float4 v = loadFour<kFours>(x, i, M), w = loadFour<kFours>(a.weight, i, M);
    float4 out =
        make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w);
    if (a.accumulate) out = addFours(loadFour<kFours>(y, i, M), out);
    storeFour<kFours>(y, i, M, out);
  }
}

template <bool kFours>
__global__ void __launch_bounds__(kMostRowThreads) dRmsnorm(DRmsNormArgs a, int r0) {
  const auto M = static_cast<size_t>(a.M);
  const size_t row = (static_cast<size_t>(r0) + blockIdx.x) * M;
  const float* x = a.x + row;
  const float* dy = a.dy + row;
  float* dx = a.dx + row;
  const size_t begin = size_t{4} * threadIdx.x, step = size_t{4} * blockDim.x;
  float squares = 0, along = 0;
  for (size_t i = begin; i < M; i += step) {
    const float4 v = loadFour<kFours>(x, i, M), d = loadFour<kFours>(dy, i, M);
    const float4 w = loadFour<kFours>(a.weight, i, M);
    squares += dot(v, v);
    along += dot(make_float4(d.x * w.x, d.y * w.y, d.z * w.z, d.w * w.w), v);
  }
  squares = overBlock(squares, sharedMemory<float>(), Sum{});
  along = overBlock(along, sharedMemory<float>(), Sum{});
  const float mean = squares / static_cast<float>(a.M) + a.epsilon;
  const float scale = 1.0f / sqrtf(mean);
  along = along / static_cast<float>(a.M) / mean;  // s^2 / M * sum, the share of x
  const auto slope = [&](float w, float d, float v) { return scale * (w * d - along * v); };
  for (size_t i = begin; i < M; i += step) {
    const float4 v = loadFour<kFours>(x, i, M), d = loadFour<kFours>(dy, i, M);
    const float4 w = loadFour<kFours>(a.weight, i, M);
    float4 out = make_float4(slope(w.x, d.x, v.x), slope(w.y, d.y, v.y), slope(w.z, d.z, v.z),
                             slope(w.w, d.w, v.w));
    if (a.accumulate) out = addFours(loadFour<kFours>(dx, i, M), out);
    storeFour<kFours>(dx, i, M, out);
  }
}

// One float of each warp.
size_t sharedBytes(int threads) {
  return sizeof(float) * static_cast<size_t>(threads / kWarp);
}

}  // namespace
}  // namespace cuda

void rmsnormCuda(const RmsNormArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const bool fours =
      cuda::inFours(a.x, a.M) && cuda::inFours(a.weight, a.M) && cuda::inFours(a.y, a.M);
  const int threads = cuda::threadsOfRow(a.M);
  cuda::launch(fours ? cuda::rmsnorm<true> : cuda::rmsnorm<false>,
               dim3(static_cast<unsigned>(r1 - r0)), threads, cuda::sharedBytes(threads), a, r0);
}

void dRmsnormCuda(const DRmsNormArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const bool fours = cuda::inFours(a.x, a.M) && cuda::inFours(a.weight, a.M) &&
                     cuda::inFours(a.dy, a.M) && cuda::inFours(a.dx, a.M);
  const int threads = cuda::threadsOfRow(a.M);
  cuda::launch(fours ? cuda::dRmsnorm<true> : cuda::dRmsnorm<false>,
               dim3(static_cast<unsigned>(r1 - r0)), threads, cuda::sharedBytes(threads), a, r0);
}

}  // namespace baton
