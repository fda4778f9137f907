// SPDX-License-Identifier: Apache-2.0
// dAttendQueries of attention_backward.h and dAttendQuery of kernels/attend/dattend.h: a block of
// threads for some queries of one item or call and one kv head goes through the blocks that they
// read, one after the other. Sums ascend in the rows of K, so the bits of a query's dq do not
// depend on the queries beside it.
#include "cuda/attention_backward.h"
#include "cuda/dattend.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

// dq of kQueries queries: some of them, in some columns, in each thread.
template <int kDim>
struct QuerySums {
  using Shape = DAttendShape<kDim>;
  static constexpr int kEach = Shape::kQueries / Shape::kGroups;
  float dq[Shape::kColumns][kEach] = {};

  // fn(i, t, sum) for those that a thread has.
  template <class Attender, class Fn>
  __device__ void forAll(const Attender& of, const Fn& fn) {
    BATON_UNROLL
    for (int c = 0; c < Shape::kColumns; ++c) {
      if (of.column(c) >= of.D) continue;
      BATON_UNROLL
      for (int e = 0; e < kEach; ++e) fn(of.group() * kEach + e, of.column(c), dq[c][e]);
    }
  }

  template <class Attender>
  __device__ void addBlock(const Attender& of) {
    BATON_UNROLL
    for (int c = 0; c < Shape::kColumns; ++c) {
      if (of.column(c) >= of.D) continue;
      const float* key = of.keys() + of.column(c) * kWideStride;
      const float* slopes = of.slopes() + of.group() * kEach * kBlockRows;
      BATON_UNROLL_BY(1)
      for (int j = 0; j < kBlockRows; ++j) {
        BATON_UNROLL
        for (int e = 0; e < kEach; ++e) {
          dq[c][e] = fmaf(slopes[e * kBlockRows + j], key[j], dq[c][e]);
        }
      }
    }
  }
};

// Blocks: (item, kv head, queries of it).
template <KvType kKv, int kDim>
__global__ void __launch_bounds__(kAttendThreads) dAttendQueries(DAttendSlotsArgs a, int item0) {
  using Attender = DAttender<kKv, kDim>;
  const DAttendItem item = a.items[static_cast<unsigned>(item0) + blockIdx.x];
  const int first = static_cast<int>(blockIdx.z) * Attender::kQueries;
  const BatchQueries<DAttendSlotsArgs, DAttendItem> source{a, item, static_cast<int>(blockIdx.y)};
  if (first >= source.count()) return;  // the whole block
  const Attender attender{a.D, a.scale, sharedMemory<float>()};
  QuerySums<kDim> sums;
  attender.loadQueries(source, first);
  for (int s = item.slotBegin; s < item.slotEnd; ++s) {
    const KvSlot slot = a.slots[s];
    const RowRange any = source.anyRange(slot, first, Attender::kQueries);
    if (any.first >= any.end) continue;  // of the whole block
    attender.loadBlock(a.k + source.offset(slot), a.v + source.offset(slot), any);
    __syncthreads();
    attender.weigh(source, first, [&](int i) { return source.range(slot, first + i); });
    sums.addBlock(attender);
    __syncthreads();  // K and ds are read
  }
  sums.forAll(attender, [&](int i, int t, float sum) {
    if (first + i >= source.count()) return;
    const size_t at = source.headAt(item.state, first + i);
    a.dq[at * static_cast<size_t>(a.D) + static_cast<size_t>(t)] = sum;
  });
}

template <KvType kKv>
__global__ void __launch_bounds__(kAttendThreads) dAttendQuery(DAttendArgs a) {
  using Attender = DAttender<kKv, kMostHeadDim>;
  const int first = static_cast<int>(blockIdx.x) * Attender::kQueries;
  const CallQueries source{a};
  const Attender attender{a.D, a.scale, sharedMemory<float>()};
  QuerySums<kMostHeadDim> sums;
  sums.forAll(attender, [&](int i, int t, float& sum) {
    if (first + i < a.Q) sum = a.dq[first + i][t];
  });
  attender.loadQueries(source, first);
  for (int slot = 0; slot < source.slots(); ++slot) {
    const RowRange any = source.anyRange(slot, first, Attender::kQueries);
    if (any.first >= any.end) continue;
    attender.loadBlock(a.k + source.offset(slot), a.v + source.offset(slot), any);
    __syncthreads();
    attender.weigh(source, first, [&](int i) { return source.range(slot, first + i); });
    sums.addBlock(attender);
    __syncthreads();
  }
  sums.forAll(attender, [&](int i, int t, float sum) {
    if (first + i < a.Q) a.dq[first + i][t] = sum;
  });
}

template <KvType kKv, int kDim>
void launchQueries(const DAttendSlotsArgs& a, int item0, int item1) {
  const auto queries = static_cast<size_t>(a.mostRows) * static_cast<size_t>(a.H / a.G);
  const dim3 grid(static_cast<unsigned>(item1 - item0), static_cast<unsigned>(a.G),
                  blocksOf(queries, DAttendShape<kDim>::kQueries));
  launch(dAttendQueries<kKv, kDim>, grid, kAttendThreads, dAttendFloats<kDim>(a.D) * sizeof(float),
         a, item0);
}

}  // namespace
}  // namespace cuda

void dAttendQueriesCuda(const DAttendSlotsArgs& a, int item0, int item1) {
  if (item0 >= item1 || a.mostRows == 0) return;
  cuda::withHeads(a.kv, a.D, [&](auto heads) {
    using Heads = decltype(heads);
    cuda::launchQueries<Heads::kKv, Heads::kDim>(a, item0, item1);
  });
}

void dAttendQueryCuda(const DAttendArgs& a) {
  constexpr void (*kKernels[])(DAttendArgs) = {
      cuda::dAttendQuery<KvType::kF32>, cuda::dAttendQuery<KvType::kF16>,
      cuda::dAttendQuery<KvType::kBF16>, cuda::dAttendQuery<KvType::kInt8>};
  constexpr int kQueries = cuda::DAttendShape<kMostHeadDim>::kQueries;
  cuda::launch(kKernels[static_cast<size_t>(a.kv)],
               dim3(cuda::blocksOf(static_cast<size_t>(a.Q), kQueries)), cuda::kAttendThreads,
               cuda::dAttendFloats<kMostHeadDim>(a.D) * sizeof(float), a);
}

}  // namespace baton
