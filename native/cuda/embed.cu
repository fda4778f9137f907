// SPDX-License-Identifier: Apache-2.0
// embed of rows.h: rows along x, a thread for each number; soft rows are left alone.
#include "cuda/ops.h"
#include "cuda/weights.cuh"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 256;

template <class Block, int kElements>
__global__ void __launch_bounds__(kThreads) embed(EmbedArgs a, int r0) {
  const size_t r = static_cast<size_t>(r0) + blockIdx.x;
  const int token = a.tokens[r];
  const int i = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  if (token < 0 || i >= a.M) return;
  const auto M = static_cast<size_t>(a.M);
  const Block* row =
      static_cast<const Block*>(a.table) + static_cast<size_t>(token) * (M / kElements);
  a.out[r * M + static_cast<size_t>(i)] = elementOf(row[i / kElements], i % kElements) * a.scale;
}

}  // namespace
}  // namespace cuda

void embedCuda(const EmbedArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const unsigned parts = cuda::blocksOf(static_cast<size_t>(a.M), cuda::kThreads);
  cuda::withRowsOf(a.type, [&](auto rows) {
    using Rows = decltype(rows);
    cuda::launch(cuda::embed<typename Rows::Block, Rows::kElements>,
                 dim3(static_cast<unsigned>(r1 - r0), parts), cuda::kThreads, 0, a, r0);
  });
}

}  // namespace baton
