// SPDX-License-Identifier: Apache-2.0
// squareSums and adamw of adamw.h: a block for each piece. Both sum in the contract's lanes, which
// are the block's threads. Every block of the second launch makes the gradient's length anew out of
// the sums of the first (a number for each 1,024), so that there is no third launch and nobody
// waits for the host.
#include "cuda/lanes.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kWarps = kAdamWLanes / kWarp;
constexpr int kEach = kAdamWPiece / kAdamWLanes;  // of a thread

__global__ void __launch_bounds__(kAdamWLanes) squareSums(AdamWArgs a, int p0) {
  const int p = p0 + static_cast<int>(blockIdx.x);
  const int first = p * kAdamWPiece + static_cast<int>(threadIdx.x);
  double sum = 0;
  BATON_UNROLL
  for (int k = 0; k < kEach; ++k) {
    const int i = first + k * kAdamWLanes;
    const double g = i < a.n ? a.gradient[i] : 0.0f;
    sum += g * g;
  }
  sum = overBlock(sum, sharedMemory<double>(), Sum{});
  if (threadIdx.x == 0) a.sums[p] = sum;
}

// Returns whether the value is a finite number.
__device__ inline bool update(const AdamWArgs& a, int i, double scale) {
  const float whole = a.gradient[i];
  const double g = scale < 1 ? static_cast<float>(whole * scale) : whole;
  const double m = a.first[i] * a.beta1 + g * (1 - a.beta1);
  const double v = a.second[i] * a.beta2 + g * g * (1 - a.beta2);
  a.first[i] = static_cast<float>(m);
  a.second[i] = static_cast<float>(v);
  const auto value = static_cast<float>(a.value[i] * a.kept -
                                        a.stepSize * m / (sqrt(v) / a.secondScale + a.epsilon));
  a.value[i] = value;
  return fabsf(value) < INFINITY;
}

__global__ void __launch_bounds__(kAdamWLanes) adamw(AdamWArgs a, int p0) {
  const int p = p0 + static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  auto* shared = sharedMemory<double>();
  double norm = 0;
  for (int i = thread; i < adamWPieces(a.n); i += kAdamWLanes) norm += a.sums[i];
  norm = sqrt(overBlock(norm, shared, Sum{}));
  if (p == 0 && thread == 0) a.report[0] = norm;
  double bad = 0;
  if (norm < static_cast<double>(INFINITY)) {
    const double scale = a.maxNorm / (norm + 1e-6);
    for (int k = 0; k < kEach; ++k) {
      const int i = p * kAdamWPiece + thread + k * kAdamWLanes;
      if (i < a.n && !update(a, i, scale)) bad += 1;
    }
  }
  bad = overBlock(bad, shared, Sum{});
  if (thread == 0) a.report[1 + p] = bad;
}

}  // namespace
}  // namespace cuda

void squareSumsCuda(const AdamWArgs& a, int p0, int p1) {
  if (p0 >= p1) return;
  cuda::launch(cuda::squareSums, dim3(static_cast<unsigned>(p1 - p0)), kAdamWLanes,
               cuda::kWarps * sizeof(double), a, p0);
}

void adamwCuda(const AdamWArgs& a, int p0, int p1) {
  if (p0 >= p1) return;
  cuda::launch(cuda::adamw, dim3(static_cast<unsigned>(p1 - p0)), kAdamWLanes,
               cuda::kWarps * sizeof(double), a, p0);
}

}  // namespace baton
