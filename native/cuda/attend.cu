// SPDX-License-Identifier: Apache-2.0
// attend of kernels/attend/attend.h, one piece of one kv head: what the engine issues on a CPU. On
// a device attendSlots does all pieces of a step at once, with the same code underneath.
#include "kernels/attend/attend.h"

#include "cuda/attend.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

struct PieceSource {
  const AttendArgs& a;
  const int begin;  // first query of the block of threads

  __device__ const float* query(int i) const { return begin + i < a.Q ? a.q[begin + i] : nullptr; }
  // Up to the last row that any query reads; the list of blocks may end there.
  __device__ int slots() const {
    int rows = 0;
    for (int i = 0; i < a.Q; ++i) rows = a.visible[i] > rows ? a.visible[i] : rows;
    return (rows + kBlockRows - 1) / kBlockRows;
  }
  __device__ RowRange range(int slot, int i) const {
    if (begin + i >= a.Q) return {0, 0};
    const int base = slot * kBlockRows;
    const int first = (a.first == nullptr ? 0 : a.first[begin + i]) - base;
    const int end = a.visible[begin + i] - base;
    return {first > 0 ? first : 0, end < kBlockRows ? end : kBlockRows};
  }
  __device__ size_t offset(int slot) const {
    return static_cast<size_t>(a.blocks[slot]) * a.blockStride;
  }
  __device__ const std::byte* key(int slot) const { return a.k + offset(slot); }
  __device__ const std::byte* value(int slot) const { return a.v + offset(slot); }
  __device__ void store(int i, int t, float o, float m, float d) const {
    a.o[static_cast<size_t>(begin + i) * static_cast<size_t>(a.D) + static_cast<size_t>(t)] = o;
    if (t == 0) a.m[begin + i] = m, a.d[begin + i] = d;
  }
};

constexpr int kQueries = 4;

template <KvType kKv>
__global__ void __launch_bounds__(kAttendThreads) attend(AttendArgs a) {
  const PieceSource source{a, static_cast<int>(blockIdx.x) * kQueries};
  attendBlock<kKv, kMostHeadDim, kQueries>(source, a.D, a.scale);
}

}  // namespace
}  // namespace cuda

void attendCuda(const AttendArgs& a) {
  constexpr void (*kKernels[])(AttendArgs) = {
      cuda::attend<KvType::kF32>, cuda::attend<KvType::kF16>, cuda::attend<KvType::kBF16>,
      cuda::attend<KvType::kInt8>};
  if (a.Q == 0) return;
  cuda::launch(kKernels[static_cast<size_t>(a.kv)],
               dim3(cuda::blocksOf(static_cast<size_t>(a.Q), cuda::kQueries)), cuda::kAttendThreads,
               sizeof(float) * cuda::attendFloats<cuda::kQueries>(a.D), a);
}

}  // namespace baton
