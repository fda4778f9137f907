// SPDX-License-Identifier: Apache-2.0
// dAttendKeys of attention_backward.h and dAttendKey of kernels/attend/dattend.h: a block of
// threads for one block of the pool and one kv head goes through the queries that read it, some at
// a time. Sums ascend in the queries.
#include "cuda/attention_backward.h"
#include "cuda/dattend.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

// dk and dv of the rows of a block: some of them, in some columns, in each thread.
template <int kDim>
struct KeySums {
  using Shape = DAttendShape<kDim>;
  static constexpr int kEach = kBlockRows / Shape::kGroups;
  float dk[Shape::kColumns][kEach] = {}, dv[Shape::kColumns][kEach] = {};

  // fn(j, t, dk, dv) for those that a thread has.
  template <class Attender, class Fn>
  __device__ void forAll(const Attender& of, const Fn& fn) {
    BATON_UNROLL
    for (int c = 0; c < Shape::kColumns; ++c) {
      if (of.column(c) >= of.D) continue;
      BATON_UNROLL
      for (int e = 0; e < kEach; ++e) {
        fn(of.group() * kEach + e, of.column(c), dk[c][e], dv[c][e]);
      }
    }
  }

  template <class Attender>
  __device__ void addQueries(const Attender& of) {
    BATON_UNROLL_BY(1)
    for (int i = 0; i < Shape::kQueries; ++i) {
      const float* weights = of.weights() + i * kBlockRows + of.group() * kEach;
      const float* slopes = of.slopes() + i * kBlockRows + of.group() * kEach;
      BATON_UNROLL
      for (int c = 0; c < Shape::kColumns; ++c) {
        if (of.column(c) >= of.D) continue;
        const float q = of.queries()[i * queryStride(of.D) + of.column(c)];
        const float dout = of.douts()[i * queryStride(of.D) + of.column(c)];
        BATON_UNROLL
        for (int e = 0; e < kEach; ++e) {
          dk[c][e] = fmaf(slopes[e], q, dk[c][e]);
          dv[c][e] = fmaf(weights[e], dout, dv[c][e]);
        }
      }
    }
  }
};

// Blocks: (part, kv head).
template <KvType kKv, int kDim>
__global__ void __launch_bounds__(kAttendThreads, kDim > 128 ? 3 : 4)
    dAttendKeys(DAttendSlotsArgs a, int part0) {
  using Attender = DAttender<kKv, kDim>;
  const auto number = static_cast<size_t>(static_cast<unsigned>(part0) + blockIdx.x);
  const KeyPart part = a.parts[number];
  const auto head = static_cast<int>(blockIdx.y);
  const Attender attender{a.D, a.scale, sharedMemory<float>()};
  KeySums<kDim> sums;
  int longest = 0;
  for (int u = part.useBegin; u < part.useEnd; ++u) longest = max(longest, a.uses[u].slot.rows);
  bool loaded = false;
  for (int u = part.useBegin; u < part.useEnd; ++u) {
    const KeyUse use = a.uses[u];
    const BatchQueries<DAttendSlotsArgs, KeyUse> source{a, use, head};
    for (int first = 0; first < source.count(); first += Attender::kQueries) {
      const RowRange any = source.anyRange(use.slot, first, Attender::kQueries);
      if (any.first >= any.end) continue;  // of the whole block
      if (!loaded) {
        attender.loadBlock(a.k + source.offset(use.slot), a.v + source.offset(use.slot),
                           {0, longest});
      }
      loaded = true;
      attender.loadQueries(source, first);
      __syncthreads();
      attender.weigh(source, first, [&](int i) { return source.range(use.slot, first + i); });
      sums.addQueries(attender);
      __syncthreads();  // queries, p and ds are read
    }
  }
  sums.forAll(attender, [&](int j, int t, float dk, float dv) {
    const size_t row = number * kBlockRows + static_cast<size_t>(j);
    const size_t at =
        (row * static_cast<size_t>(a.G) + static_cast<size_t>(head)) * static_cast<size_t>(a.D) +
        static_cast<size_t>(t);
    a.dk[at] = dk;
    a.dv[at] = dv;
  });
}

template <KvType kKv>
__global__ void __launch_bounds__(kAttendThreads, 3) dAttendKey(DAttendArgs a) {
  using Attender = DAttender<kKv, kMostHeadDim>;
  const CallQueries source{a};
  const auto slot = static_cast<int>(blockIdx.x);
  const RowRange all = source.anyRange(slot, 0, a.Q);
  if (all.first >= all.end) return;  // the whole block
  const Attender attender{a.D, a.scale, sharedMemory<float>()};
  KeySums<kMostHeadDim> sums;
  const auto at = [&](int j, int t) {
    return static_cast<size_t>(slot * kBlockRows + j) * static_cast<size_t>(a.ldk) +
           static_cast<size_t>(t);
  };
  const auto there = [&](int j) { return j >= all.first && j < all.end; };
  sums.forAll(attender, [&](int j, int t, float& dk, float& dv) {
    if (there(j)) dk = a.dk[at(j, t)], dv = a.dv[at(j, t)];
  });
  attender.loadBlock(a.k + source.offset(slot), a.v + source.offset(slot), all);
  for (int first = 0; first < a.Q; first += Attender::kQueries) {
    attender.loadQueries(source, first);
    __syncthreads();
    attender.weigh(source, first, [&](int i) { return source.range(slot, first + i); });
    sums.addQueries(attender);
    __syncthreads();
  }
  sums.forAll(attender, [&](int j, int t, float dk, float dv) {
    if (there(j)) a.dk[at(j, t)] = dk, a.dv[at(j, t)] = dv;
  });
}

template <KvType kKv, int kDim>
void launchKeys(const DAttendSlotsArgs& a, int part0, int part1) {
  launch(dAttendKeys<kKv, kDim>,
         dim3(static_cast<unsigned>(part1 - part0), static_cast<unsigned>(a.G)), kAttendThreads,
         dAttendFloats<kDim>(a.D) * sizeof(float), a, part0);
}

}  // namespace
}  // namespace cuda

void dAttendKeysCuda(const DAttendSlotsArgs& a, int part0, int part1) {
  if (part0 >= part1) return;
  cuda::withHeads(a.kv, a.D, [&](auto heads) {
    using Heads = decltype(heads);
    cuda::launchKeys<Heads::kKv, Heads::kDim>(a, part0, part1);
  });
}

// Blocks of a whole piece: how many rows are read is known on the device only.
void dAttendKeyCuda(const DAttendArgs& a) {
  constexpr void (*kKernels[])(DAttendArgs) = {
      cuda::dAttendKey<KvType::kF32>, cuda::dAttendKey<KvType::kF16>,
      cuda::dAttendKey<KvType::kBF16>, cuda::dAttendKey<KvType::kInt8>};
  cuda::launch(kKernels[static_cast<size_t>(a.kv)], dim3(kPieceRows / kBlockRows),
               cuda::kAttendThreads, cuda::dAttendFloats<kMostHeadDim>(a.D) * sizeof(float), a);
}

}  // namespace baton
