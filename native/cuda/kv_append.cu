// SPDX-License-Identifier: Apache-2.0
// kvAppend of attention.h. A block has 16 rows of one head of q, k or v, a warp one of them at a
// time: each lane holds pairs that rope turns together, so a row is read once, and normed, turned
// and rounded in registers. K is stored transposed: its tile goes through shared memory, so that
// neighbours write to neighbouring slots. Other rows of a tile change nothing of a row's bits.
#include "cuda/attention.h"
#include "cuda/lanes.cuh"
#include "cuda/stored.cuh"
#include "cuda/turn.cuh"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kTile = 16;
constexpr int kMostPairs = kMostHeadDim / 2 / kWarp;  // of a lane

// Lane l has pairs l, l + 32, ...; those that a head does not have are 0.
struct Pairs {
  float first[kMostPairs], second[kMostPairs];
};

struct Places {
  int first, second;  // in the head
};

template <RopePairing kPairing>
__device__ inline Places placesOf(int pair, int D) {
  if (kPairing == RopePairing::kAdjacent) return {2 * pair, 2 * pair + 1};
  return {pair, pair + D / 2};
}

template <RopePairing kPairing>
__device__ inline Pairs loadPairs(const float* x, int D) {
  Pairs pairs;
  BATON_UNROLL
  for (int i = 0; i < kMostPairs; ++i) {
    const int pair = static_cast<int>(threadIdx.x) % kWarp + i * kWarp;
    const auto [first, second] = placesOf<kPairing>(pair, D);
    pairs.first[i] = pair < D / 2 ? x[first] : 0.0f;
    pairs.second[i] = pair < D / 2 ? x[second] : 0.0f;
  }
  return pairs;
}

template <RopePairing kPairing>
__device__ inline void norm(Pairs& pairs, const float* weight, float epsilon, int D) {
  float squares = 0;
  BATON_UNROLL
  for (int i = 0; i < kMostPairs; ++i) {
    squares += pairs.first[i] * pairs.first[i] + pairs.second[i] * pairs.second[i];
  }
  squares = overWarp(squares, Sum{});
  const float scale = 1.0f / sqrtf(squares / static_cast<float>(D) + epsilon);
  BATON_UNROLL
  for (int i = 0; i < kMostPairs; ++i) {
    const int pair = static_cast<int>(threadIdx.x) % kWarp + i * kWarp;
    if (pair >= D / 2) continue;
    const auto [first, second] = placesOf<kPairing>(pair, D);
    pairs.first[i] = pairs.first[i] * scale * weight[first];
    pairs.second[i] = pairs.second[i] * scale * weight[second];
  }
}

__device__ inline void rotate(Pairs& pairs, const KvAppendArgs& a, int position) {
  const int half = a.D / 2;
  const size_t angles =
      static_cast<size_t>(position < 0 ? -position : position) * static_cast<size_t>(half);
  const float sign = position < 0 ? -1.0f : 1.0f;
  BATON_UNROLL
  for (int i = 0; i < kMostPairs; ++i) {
    const int pair = static_cast<int>(threadIdx.x) % kWarp + i * kWarp;
    if (pair >= half) continue;
    const size_t at = angles + static_cast<size_t>(pair);
    const Turned turned = turn(pairs.first[i], pairs.second[i], a.cos[at], sign * a.sin[at]);
    pairs.first[i] = turned.first;
    pairs.second[i] = turned.second;
  }
}

// All lanes have it.
__device__ inline float largestOf(const Pairs& pairs) {
  float largest = 0;
  BATON_UNROLL
  for (int i = 0; i < kMostPairs; ++i) {
    largest = LargestOrNan{}(largest, fabsf(pairs.first[i]));
    largest = LargestOrNan{}(largest, fabsf(pairs.second[i]));
  }
  return overWarp(largest, LargestOrNan{});
}

template <RopePairing kPairing>
__device__ inline void appendQueries(const KvAppendArgs& a, size_t tile, size_t head) {
  const auto D = static_cast<size_t>(a.D), rows = static_cast<size_t>(a.queryRows);
  const size_t end = tile * kTile + kTile < rows ? tile * kTile + kTile : rows;
  for (size_t r = tile * kTile + threadIdx.x / kWarp; r < end; r += kWarps) {
    const auto from = static_cast<size_t>(a.queryRow[r]);
    Pairs pairs = loadPairs<kPairing>(a.q + from * static_cast<size_t>(a.ldq) + head * D, a.D);
    if (a.qNorm != nullptr) norm<kPairing>(pairs, a.qNorm, a.epsilon, a.D);
    rotate(pairs, a, a.queryPositions[r]);
    float* out = a.rotated + (r * static_cast<size_t>(a.H) + head) * D;
    BATON_UNROLL
    for (int i = 0; i < kMostPairs; ++i) {
      const int pair = static_cast<int>(threadIdx.x) % kWarp + i * kWarp;
      if (pair >= a.D / 2) continue;
      const auto [first, second] = placesOf<kPairing>(pair, a.D);
      out[first] = pairs.first[i];
      out[second] = pairs.second[i];
    }
  }
}

// From number t of a row to t + 1 in the tile: an odd number of words, so that lanes with
// consecutive t write to different banks.
template <class T>
constexpr int kTileStride = kTile + 4 / static_cast<int>(sizeof(T));

template <KvType kKv, RopePairing kPairing>
__device__ inline void appendKeys(const KvAppendArgs& a, size_t tile, size_t head) {
  using To = Stored<kKv>;
  constexpr int kStride = kTileStride<typename To::Type>;
  auto* shared = sharedMemory<typename To::Type>();
  const size_t begin = tile * kTile;
  const size_t left = static_cast<size_t>(a.rows) - begin;
  const auto count = static_cast<unsigned>(left < kTile ? left : kTile);
  std::byte* base = a.kBase + head * a.headStride;
  const auto blockOf = [&](size_t r) {
    return base + static_cast<size_t>(a.block[r]) * a.blockStride;
  };
  for (unsigned j = threadIdx.x / kWarp; j < count; j += kWarps) {
    const size_t r = begin + j;
    const float* x = a.k + r * static_cast<size_t>(a.ldk) + head * static_cast<size_t>(a.D);
    Pairs pairs = loadPairs<kPairing>(x, a.D);
    if (a.kNorm != nullptr) norm<kPairing>(pairs, a.kNorm, a.epsilon, a.D);
    rotate(pairs, a, a.keyPositions[r]);
    float inverse = 0;
    if constexpr (kKv == KvType::kInt8) {
      const Int8Row row = int8Row(largestOf(pairs));
      inverse = row.inverse;
      if (threadIdx.x % kWarp == 0) scalesOf(blockOf(r), a.D)[a.slot[r]] = row.scale;
    }
    BATON_UNROLL
    for (int i = 0; i < kMostPairs; ++i) {
      const int pair = static_cast<int>(threadIdx.x) % kWarp + i * kWarp;
      if (pair >= a.D / 2) continue;
      const auto [first, second] = placesOf<kPairing>(pair, a.D);
      shared[first * kStride + static_cast<int>(j)] = To::of(pairs.first[i], inverse);
      shared[second * kStride + static_cast<int>(j)] = To::of(pairs.second[i], inverse);
    }
  }
  __syncthreads();
  const unsigned j = threadIdx.x % kTile;
  if (j >= count) return;
  auto* to = reinterpret_cast<typename To::Type*>(blockOf(begin + j)) + a.slot[begin + j];
  for (int t = static_cast<int>(threadIdx.x) / kTile; t < a.D; t += kThreads / kTile) {
    to[t * kBlockRows] = shared[t * kStride + static_cast<int>(j)];
  }
}

template <KvType kKv>
__device__ inline void appendValues(const KvAppendArgs& a, size_t tile, size_t head) {
  using To = Stored<kKv>;
  constexpr auto kAny = RopePairing::kHalves;  // nothing is turned; this is the faster to read
  const size_t rows = static_cast<size_t>(a.rows);
  const size_t end = tile * kTile + kTile < rows ? tile * kTile + kTile : rows;
  for (size_t r = tile * kTile + threadIdx.x / kWarp; r < end; r += kWarps) {
    const float* x = a.v + r * static_cast<size_t>(a.ldv) + head * static_cast<size_t>(a.D);
    const Pairs pairs = loadPairs<kAny>(x, a.D);
    std::byte* base =
        a.vBase + head * a.headStride + static_cast<size_t>(a.block[r]) * a.blockStride;
    float inverse = 0;
    if constexpr (kKv == KvType::kInt8) {
      const Int8Row row = int8Row(largestOf(pairs));
      inverse = row.inverse;
      if (threadIdx.x % kWarp == 0) scalesOf(base, a.D)[a.slot[r]] = row.scale;
    }
    auto* to = reinterpret_cast<typename To::Type*>(base) + a.slot[r] * a.D;
    BATON_UNROLL
    for (int i = 0; i < kMostPairs; ++i) {
      const int pair = static_cast<int>(threadIdx.x) % kWarp + i * kWarp;
      if (pair >= a.D / 2) continue;
      const auto [first, second] = placesOf<kAny>(pair, a.D);
      to[first] = To::of(pairs.first[i], inverse);
      to[second] = To::of(pairs.second[i], inverse);
    }
  }
}

constexpr size_t tilesOf(int rows) {
  return (static_cast<size_t>(rows) + kTile - 1) / kTile;
}

// Blocks: (tile, head) of queries, then of keys, then of values, heads fastest.
template <KvType kKv, RopePairing kPairing>
__global__ void __launch_bounds__(kThreads, 8)
    kvAppend(KvAppendArgs a, size_t keysFrom, size_t valuesFrom) {
  const size_t block = blockIdx.x;
  const auto H = static_cast<size_t>(a.H), G = static_cast<size_t>(a.G);
  if (block < keysFrom) {
    appendQueries<kPairing>(a, block / H, block % H);
  } else if (block < valuesFrom) {
    appendKeys<kKv, kPairing>(a, (block - keysFrom) / G, (block - keysFrom) % G);
  } else {
    appendValues<kKv>(a, (block - valuesFrom) / G, (block - valuesFrom) % G);
  }
}

template <KvType kKv>
void launchKvAppend(const KvAppendArgs& a) {
  using Type = typename Stored<kKv>::Type;
  const size_t keysFrom = tilesOf(a.queryRows) * static_cast<size_t>(a.H);
  const size_t keys = tilesOf(a.rows) * static_cast<size_t>(a.G);
  const auto blocks = static_cast<unsigned>(keysFrom + 2 * keys);
  if (blocks == 0) return;
  const size_t shared = sizeof(Type) * static_cast<size_t>(a.D * kTileStride<Type>);
  launch(a.pairing == RopePairing::kAdjacent ? kvAppend<kKv, RopePairing::kAdjacent>
                                             : kvAppend<kKv, RopePairing::kHalves>,
         dim3(blocks), kThreads, shared, a, keysFrom, keysFrom + keys);
}

}  // namespace
}  // namespace cuda

void kvAppendCuda(const KvAppendArgs& a) {
  switch (a.kv) {
    case KvType::kF32:
      return cuda::launchKvAppend<KvType::kF32>(a);
    case KvType::kF16:
      return cuda::launchKvAppend<KvType::kF16>(a);
    case KvType::kBF16:
      return cuda::launchKvAppend<KvType::kBF16>(a);
    case KvType::kInt8:
      return cuda::launchKvAppend<KvType::kInt8>(a);
  }
}

}  // namespace baton
