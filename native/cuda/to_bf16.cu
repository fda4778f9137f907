// SPDX-License-Identifier: Apache-2.0
// toBf16 of rows.h: a thread for each number.
#include "base/half.h"
#include "cuda/launch.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) toBf16(ToBf16Args a, size_t first, size_t end) {
  const size_t i = first + size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < end) a.out[i] = bfloatOfFloat(a.x[i]);
}

}  // namespace
}  // namespace cuda

void toBf16Cuda(const ToBf16Args& a, int r0, int r1) {
  if (r0 >= r1) return;
  const auto K = static_cast<size_t>(a.K);
  const size_t first = static_cast<size_t>(r0) * K, end = static_cast<size_t>(r1) * K;
  cuda::launch(cuda::toBf16, dim3(cuda::blocksOf(end - first, cuda::kThreads)), cuda::kThreads, 0,
               a, first, end);
}

}  // namespace baton
