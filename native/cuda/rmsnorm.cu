// SPDX-License-Identifier: Apache-2.0
// rmsnorm and rmsnormQuantize of rows.h and dRmsnorm of drows.h: a block for each row. A thread
// reads and writes the same numbers in both passes over the row, so it may be computed in place.
#include "cuda/int8_group.cuh"
#include "cuda/lanes.cuh"
#include "cuda/norm.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

// 1 / sqrt(mean(x^2) + epsilon) of a row of M. All threads of the block call it.
template <bool kFours>
__device__ inline float scaleOf(const float* x, size_t M, float epsilon) {
  float squares = 0;
  for (size_t i = size_t{4} * threadIdx.x; i < M; i += size_t{4} * blockDim.x) {
    const float4 v = loadFour<kFours>(x, i, M);
    squares += dot(v, v);
  }
  squares = overBlock(squares, sharedMemory<float>(), Sum{});
  return 1.0f / sqrtf(squares / static_cast<float>(M) + epsilon);
}

template <bool kFours>
__global__ void __launch_bounds__(kMostRowThreads) rmsnorm(RmsNormArgs a, int r0) {
  const auto M = static_cast<size_t>(a.M);
  const size_t row = (static_cast<size_t>(r0) + blockIdx.x) * M;
  const float* x = a.x + row;
  float* y = a.y + row;
  const float scale = scaleOf<kFours>(x, M, a.epsilon);
  for (size_t i = size_t{4} * threadIdx.x; i < M; i += size_t{4} * blockDim.x) {
    float4 out = scaled(loadFour<kFours>(x, i, M), scale, loadFour<kFours>(a.weight, i, M));
    if (a.accumulate) out = addFours(loadFour<kFours>(y, i, M), out);
    storeFour<kFours>(y, i, M, out);
  }
}

// Eight lanes have a group of 32. All lanes go round as often, because they exchange numbers.
template <bool kFours>
__global__ void __launch_bounds__(kMostRowThreads) rmsnormQuantize(RmsNormQuantizeArgs a, int r0) {
  constexpr int kLanes = kGroup / 4;
  const auto M = static_cast<size_t>(a.M);
  const size_t row = (static_cast<size_t>(r0) + blockIdx.x) * M;
  const float* x = a.x + row;
  const float scale = scaleOf<kFours>(x, M, a.epsilon);
  const size_t step = size_t{4} * blockDim.x;
  for (size_t first = 0; first < M; first += step) {
    const size_t i = first + size_t{4} * threadIdx.x;
    const bool inRow = i < M;  // of all numbers of a group, or of none
    float4 out = make_float4(0, 0, 0, 0);
    if (inRow) out = scaled(loadFour<kFours>(x, i, M), scale, loadFour<kFours>(a.weight, i, M));
    if (inRow && a.y != nullptr) storeFour<kFours>(a.y + row, i, M, out);
    const float most = fmaxf(fmaxf(fabsf(out.x), fabsf(out.y)), fmaxf(fabsf(out.z), fabsf(out.w)));
    const Int8Group group(overLanes<kLanes>(most, Largest{}));
    const int q[] = {group.quant(out.x), group.quant(out.y), group.quant(out.z),
                     group.quant(out.w)};
    const int sum = overLanes<kLanes>(q[0] + q[1] + q[2] + q[3], Sum{});
    if (!inRow) continue;
    BATON_UNROLL
    for (int j = 0; j < 4; ++j) a.q[row + i + static_cast<size_t>(j)] = static_cast<int8_t>(q[j]);
    if (threadIdx.x % kLanes != 0) continue;
    a.d[(row + i) / kGroup] = group.d;
    a.s[(row + i) / kGroup] = group.d * static_cast<float>(sum);
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

void rmsnormQuantizeCuda(const RmsNormQuantizeArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const bool fours = cuda::inFours(a.x, a.M) && cuda::inFours(a.weight, a.M) &&
                     (a.y == nullptr || cuda::inFours(a.y, a.M));
  const int threads = cuda::threadsOfRow(a.M);
  cuda::launch(fours ? cuda::rmsnormQuantize<true> : cuda::rmsnormQuantize<false>,
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
