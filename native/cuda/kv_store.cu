// SPDX-License-Identifier: Apache-2.0
// kvStore of rows.h: a warp for 16 rows of one head of K or of V. K is stored transposed, so two
// lanes share a row and neighbours write to neighbouring slots; V is stored as rows, so a row at a
// time, neighbours writing neighbouring numbers. Rows may go to any blocks; 16 of one block, which
// a prefill has, are the fast case.
#include "cuda/lanes.cuh"
#include "cuda/ops.h"
#include "cuda/stored.cuh"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 16;  // rows of a warp

// K or V of one head: x of row r at x + r * stride, blocks from base.
struct Side {
  const float* x;
  size_t stride;
  std::byte* base;
};

__device__ inline std::byte* blockOf(const KvStoreArgs& a, const Side& side, size_t r) {
  return side.base + static_cast<size_t>(a.block[r]) * a.blockStride;
}

// Lanes j and j + 16 have row first + j: fours 0, 2, 4 ... of it and 1, 3, 5 ...
template <KvType kKv, bool kFours>
__device__ inline void storeKeys(const KvStoreArgs& a, const Side& side, size_t first, size_t end) {
  const unsigned lane = threadIdx.x % kWarp;
  const size_t r = first + lane % kTile;
  const bool mine = r < end;  // lanes without a row take part in the collective all the same
  const auto D = static_cast<size_t>(a.D);
  const size_t begin = lane / kTile * 4, step = 8;
  const float* x = side.x + r * side.stride;
  float inverse = 0;
  if constexpr (kKv == KvType::kInt8) {
    float largest = 0;
    const LargestOrNan larger;
    for (size_t t = begin; mine && t < D; t += step) {
      const float4 v = loadFour<kFours>(x, t, D);
      largest =
          larger(larger(larger(larger(largest, fabsf(v.x)), fabsf(v.y)), fabsf(v.z)), fabsf(v.w));
    }
    largest = larger(largest, __shfl_xor_sync(kAllLanes, largest, kTile));
    const Int8Row row = int8Row(largest);
    inverse = row.inverse;
    if (mine && lane < kTile) scalesOf(blockOf(a, side, r), a.D)[a.slot[r]] = row.scale;
  }
  if (!mine) return;
  using To = Stored<kKv>;
  auto* to = reinterpret_cast<typename To::Type*>(blockOf(a, side, r)) + a.slot[r];
  for (size_t t = begin; t < D; t += step) {
    const float4 v = loadFour<kFours>(x, t, D);
    to[t * kBlockRows] = To::of(v.x, inverse);
    to[(t + 1) * kBlockRows] = To::of(v.y, inverse);
    to[(t + 2) * kBlockRows] = To::of(v.z, inverse);
    to[(t + 3) * kBlockRows] = To::of(v.w, inverse);
  }
}

template <KvType kKv>
__device__ inline void storeValues(const KvStoreArgs& a, const Side& side, size_t first,
                                   size_t end) {
  const unsigned lane = threadIdx.x % kWarp;
  const auto D = static_cast<size_t>(a.D);
  for (size_t r = first; r < end; ++r) {
    const float* x = side.x + r * side.stride;
    std::byte* base = blockOf(a, side, r);
    float inverse = 0;
    if constexpr (kKv == KvType::kInt8) {
      float largest = 0;
      for (size_t t = lane; t < D; t += kWarp) largest = LargestOrNan{}(largest, fabsf(x[t]));
      const Int8Row row = int8Row(overWarp(largest, LargestOrNan{}));
      inverse = row.inverse;
      if (lane == 0) scalesOf(base, a.D)[a.slot[r]] = row.scale;
    }
    using To = Stored<kKv>;
    auto* to = reinterpret_cast<typename To::Type*>(base) + static_cast<size_t>(a.slot[r]) * D;
    for (size_t t = lane; t < D; t += kWarp) to[t] = To::of(x[t], inverse);
  }
}

// Warps: (tile, head, K or V), the last fastest.
template <KvType kKv, bool kFours>
__global__ void __launch_bounds__(kThreads, 8) kvStore(KvStoreArgs a, size_t r0, size_t r1) {
  const size_t warp = (size_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;
  const size_t tile = warp / 2 / static_cast<size_t>(a.G), g = warp / 2 % static_cast<size_t>(a.G);
  const size_t first = r0 + tile * kTile;
  if (first >= r1) return;  // the whole warp
  const size_t end = first + kTile < r1 ? first + kTile : r1;
  const size_t at = g * static_cast<size_t>(a.D), head = g * a.headStride;
  if (warp % 2 == 0) {
    storeKeys<kKv, kFours>(a, {a.k + at, static_cast<size_t>(a.ldk), a.kBase + head}, first, end);
  } else {
    storeValues<kKv>(a, {a.v + at, static_cast<size_t>(a.ldv), a.vBase + head}, first, end);
  }
}

template <KvType kKv>
void launchKvStore(const KvStoreArgs& a, int r0, int r1) {
  const auto first = static_cast<size_t>(r0), end = static_cast<size_t>(r1);
  const size_t warps = (end - first + kTile - 1) / kTile * static_cast<size_t>(a.G) * 2;
  launch(inFours(a.k, a.ldk) ? kvStore<kKv, true> : kvStore<kKv, false>,
         dim3(blocksOf(warps, kThreads / kWarp)), kThreads, 0, a, first, end);
}

}  // namespace
}  // namespace cuda

void kvStoreCuda(const KvStoreArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  switch (a.kv) {
    case KvType::kF32:
      return cuda::launchKvStore<KvType::kF32>(a, r0, r1);
    case KvType::kF16:
      return cuda::launchKvStore<KvType::kF16>(a, r0, r1);
    case KvType::kBF16:
      return cuda::launchKvStore<KvType::kBF16>(a, r0, r1);
    case KvType::kInt8:
      return cuda::launchKvStore<KvType::kInt8>(a, r0, r1);
  }
}

}  // namespace baton
