// SPDX-License-Identifier: Apache-2.0
// crossEntropy of cross_entropy.h: a block for each row, three passes over it: the largest logit,
// the sum (exponentials in float32, their sum in double precision, as the AVX2 kernel), the
// gradient.
#include "cuda/lanes.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

// A NaN is never the larger one.
struct LargestNumber {
  __device__ float operator()(float a, float b) const { return b > a ? b : a; }
};

// Whether numbers i .. i + 3 of n are there: the rest of a row's last four is 0, not -inf.
__device__ inline float4 loadLogits(const float4& four, size_t i, size_t n, float none) {
  return make_float4(four.x, i + 1 < n ? four.y : none, i + 2 < n ? four.z : none,
                     i + 3 < n ? four.w : none);
}

template <bool kFours>
__global__ void __launch_bounds__(kMostRowThreads) crossEntropy(CrossEntropyArgs a, int r0) {
  const auto V = static_cast<size_t>(a.V);
  const size_t r = static_cast<size_t>(r0) + blockIdx.x;
  float* logits = a.logits + r * V;
  const size_t begin = size_t{4} * threadIdx.x, step = size_t{4} * blockDim.x;
  const auto label = static_cast<size_t>(a.labels[r]);
  const float labels = logits[label];  // before anything is written over it
  float largest = -INFINITY;
  for (size_t i = begin; i < V; i += step) {
    const float4 x = loadLogits(loadFour<kFours>(logits, i, V), i, V, -INFINITY);
    const LargestNumber larger;
    largest = larger(larger(larger(larger(largest, x.x), x.y), x.z), x.w);
  }
  largest = overBlock(largest, sharedMemory<float>(), LargestNumber{});
  double sum = 0;  // a NaN is in it, and so is the NaN of inf - inf
  for (size_t i = begin; i < V; i += step) {
    const float4 x = loadFour<kFours>(logits, i, V);
    const float4 e = loadLogits(make_float4(expf(x.x - largest), expf(x.y - largest),
                                            expf(x.z - largest), expf(x.w - largest)),
                                i, V, 0.0f);
    sum += static_cast<double>(e.x) + static_cast<double>(e.y) +
           (static_cast<double>(e.z) + static_cast<double>(e.w));
  }
  sum = overBlock(sum, sharedMemory<double>(), Sum{});
  if (threadIdx.x == 0) {
    a.loss[r] = static_cast<float>(log(sum) - (static_cast<double>(labels) - largest));
  }
  if (a.scale == nullptr) return;
  const float scale = a.scale[r];
  const auto inverse = static_cast<float>(1.0 / sum);
  const auto slope = [&](float x, size_t i) {
    const float p = expf(x - largest) * inverse;
    return scale * (i == label ? p - 1.0f : p);
  };
  for (size_t i = begin; i < V; i += step) {
    const float4 x = loadFour<kFours>(logits, i, V);
    storeFour<kFours>(
        logits, i, V,
        make_float4(slope(x.x, i), slope(x.y, i + 1), slope(x.z, i + 2), slope(x.w, i + 3)));
  }
}

}  // namespace
}  // namespace cuda

void crossEntropyCuda(const CrossEntropyArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const int threads = cuda::threadsOfRow(a.V);
  const size_t shared = sizeof(double) * static_cast<size_t>(threads / cuda::kWarp);
  cuda::launch(cuda::inFours(a.logits, a.V) ? cuda::crossEntropy<true> : cuda::crossEntropy<false>,
               dim3(static_cast<unsigned>(r1 - r0)), threads, shared, a, r0);
}

}  // namespace baton
