// SPDX-License-Identifier: Apache-2.0
// addBias of rows.h: rows along x, a row's numbers along y.
#include "cuda/lanes.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 128;

template <bool kFours>
__global__ void __launch_bounds__(kThreads) addBias(AddBiasArgs a, int r0) {
  const auto N = static_cast<size_t>(a.N);
  const size_t i = 4 * (size_t{blockIdx.y} * kThreads + threadIdx.x);
  if (i >= N) return;
  float* y = a.y + (static_cast<size_t>(r0) + blockIdx.x) * N;
  storeFour<kFours>(y, i, N, addFours(loadFour<kFours>(y, i, N), loadFour<kFours>(a.bias, i, N)));
}

}  // namespace
}  // namespace cuda

void addBiasCuda(const AddBiasArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const bool fours = cuda::inFours(a.bias, a.N) && cuda::inFours(a.y, a.N);
  const unsigned parts = cuda::blocksOf(static_cast<size_t>(a.N), size_t{4} * cuda::kThreads);
  cuda::launch(fours ? cuda::addBias<true> : cuda::addBias<false>,
               dim3(static_cast<unsigned>(r1 - r0), parts), cuda::kThreads, 0, a, r0);
}

}  // namespace baton
