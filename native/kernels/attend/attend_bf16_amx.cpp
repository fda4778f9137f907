// SPDX-License-Identifier: Apache-2.0
// attendBf16 with the tiles of AMX: sixteen queries by sixty-four rows of K, or elements of V. A
// product of tiles adds 32 numbers to a sum, so rows of V begin at a multiple of 32, whatever the
// queries beside read: every sum is in the order of its own rows.
#include "kernels/attend/attend_pairs_avx512.h"
#include "kernels/linear/tiles_amx.h"

namespace baton {
namespace {

constexpr int kStepPairs = 16;  // of a product of tiles
constexpr int kGranule = 2 * kStepPairs;
constexpr int kSums = 4;  // side by side

// Tile registers; numbers are parts of instructions, hence macros. Half steps have eight pairs: a
// head of an odd multiple of 16, or an odd number of blocks.
#define BATON_SUM_0 0
#define BATON_SUM_1 1
#define BATON_SUM_2 2
#define BATON_SUM_3 3
#define BATON_LEFT 4
#define BATON_RIGHT 5
#define BATON_LEFT_HALF 6
#define BATON_RIGHT_HALF 7

void configure(int queries) {
  TileShapes shapes;
  for (int sum = BATON_SUM_0; sum <= BATON_SUM_3; ++sum) shapes.set(sum, queries, 64);
  shapes.set(BATON_LEFT, queries, 4 * kStepPairs);
  shapes.set(BATON_RIGHT, kStepPairs, 64);
  shapes.set(BATON_LEFT_HALF, queries, 2 * kStepPairs);
  shapes.set(BATON_RIGHT_HALF, kStepPairs / 2, 64);
  writeMemory();
  _tile_loadconfig(&shapes);
}

// left [queries, pairs] times right [pairs, 16], of which there are `sums`, `apart` words apart.
struct Product {
  const uint32_t* left;
  size_t leftStride;  // words
  const uint32_t* right;
  size_t rightStride, apart;
  int pairs;  // a multiple of 8
  float* to;
  size_t toStride, toApart;  // floats
};

template <int sums>
void multiply(const Product& p, Ahead& ahead) {
  const auto leftBytes = static_cast<int64_t>(4 * p.leftStride);
  const auto rightBytes = static_cast<int64_t>(4 * p.rightStride);
  writeMemory();
  _tile_zero(BATON_SUM_0);
  if constexpr (sums == kSums) {
    _tile_zero(BATON_SUM_1);
    _tile_zero(BATON_SUM_2);
    _tile_zero(BATON_SUM_3);
  }
  int pair = 0;
  for (; pair + kStepPairs <= p.pairs; pair += kStepPairs) {
    for (int line = 0; line < 8; ++line) ahead.step();
    const uint32_t* right = p.right + static_cast<size_t>(pair) * p.rightStride;
    _tile_loadd(BATON_LEFT, p.left + pair, leftBytes);
    _tile_loadd(BATON_RIGHT, right, rightBytes);
    _tile_dpbf16ps(BATON_SUM_0, BATON_LEFT, BATON_RIGHT);
    if constexpr (sums == kSums) {
      _tile_loadd(BATON_RIGHT, right + p.apart, rightBytes);
      _tile_dpbf16ps(BATON_SUM_1, BATON_LEFT, BATON_RIGHT);
      _tile_loadd(BATON_RIGHT, right + 2 * p.apart, rightBytes);
      _tile_dpbf16ps(BATON_SUM_2, BATON_LEFT, BATON_RIGHT);
      _tile_loadd(BATON_RIGHT, right + 3 * p.apart, rightBytes);
      _tile_dpbf16ps(BATON_SUM_3, BATON_LEFT, BATON_RIGHT);
    }
  }
  if (pair < p.pairs) {
    const uint32_t* right = p.right + static_cast<size_t>(pair) * p.rightStride;
    _tile_loadd(BATON_LEFT_HALF, p.left + pair, leftBytes);
    _tile_loadd(BATON_RIGHT_HALF, right, rightBytes);
    _tile_dpbf16ps(BATON_SUM_0, BATON_LEFT_HALF, BATON_RIGHT_HALF);
    if constexpr (sums == kSums) {
      _tile_loadd(BATON_RIGHT_HALF, right + p.apart, rightBytes);
      _tile_dpbf16ps(BATON_SUM_1, BATON_LEFT_HALF, BATON_RIGHT_HALF);
      _tile_loadd(BATON_RIGHT_HALF, right + 2 * p.apart, rightBytes);
      _tile_dpbf16ps(BATON_SUM_2, BATON_LEFT_HALF, BATON_RIGHT_HALF);
      _tile_loadd(BATON_RIGHT_HALF, right + 3 * p.apart, rightBytes);
      _tile_dpbf16ps(BATON_SUM_3, BATON_LEFT_HALF, BATON_RIGHT_HALF);
    }
  }
  const auto toBytes = static_cast<int64_t>(4 * p.toStride);
  _tile_stored(BATON_SUM_0, p.to, toBytes);
  if constexpr (sums == kSums) {
    _tile_stored(BATON_SUM_1, p.to + p.toApart, toBytes);
    _tile_stored(BATON_SUM_2, p.to + 2 * p.toApart, toBytes);
    _tile_stored(BATON_SUM_3, p.to + 3 * p.toApart, toBytes);
  }
  writeMemory();
}

// q . K for these rows, of int8 with the scales of K.
template <KvType kv>
void scores(const AttendArgs& a, const Pairs& pairs, int query, int count, const Rows& rows,
            Ahead& ahead) {
  const auto half = static_cast<size_t>(a.D / 2);
  const int end = rows.end / kBlockRows;
  const auto product = [&](int block) {
    return Product{pairs.q + static_cast<size_t>(query) * half,
                   half,
                   pairs.k + static_cast<size_t>(block) * half * kBlockRows,
                   kBlockRows,
                   half * kBlockRows,
                   a.D / 2,
                   scoresOf(a, query) + block * kBlockRows,
                   kPieceRows,
                   kBlockRows};
  };
  int block = rows.begin / kBlockRows;
  for (; block + kSums <= end; block += kSums) multiply<kSums>(product(block), ahead);
  for (; block < end; ++block) multiply<1>(product(block), ahead);
  if constexpr (kv != KvType::kInt8) return;
  for (block = rows.begin / kBlockRows; block < end; ++block) {
    const __m512 scales = loadKvScales(blockAt(a, a.k, block), a.D);
    for (int i = query; i < query + count; ++i) {
      float* s = scoresOf(a, i) + block * kBlockRows;
      _mm512_store_ps(s, _mm512_mul_ps(_mm512_load_ps(s), scales));
    }
  }
}

void values(const AttendArgs& a, const Pairs& pairs, int query, const Rows& rows, Ahead& ahead) {
  const auto D = static_cast<size_t>(a.D);
  const auto begin = static_cast<size_t>(rows.begin / 2);
  const auto product = [&](int t) {
    return Product{reinterpret_cast<const uint32_t*>(scoresOf(a, query)) + begin,
                   kPieceRows,
                   pairs.v + begin * D + t,
                   D,
                   16,
                   (rows.end - rows.begin) / 2,
                   a.o + static_cast<size_t>(query) * D + t,
                   D,
                   16};
  };
  int t = 0;
  for (; t + 16 * kSums <= a.D; t += 16 * kSums) multiply<kSums>(product(t), ahead);
  for (; t < a.D; t += 16) multiply<1>(product(t), ahead);
}

template <KvType kv>
void attend(const AttendArgs& a) {
  const Pairs pairs = pairsOf(a);
  if (!pack<kv>(a, pairs, kGranule)) return attendAvx512(a);
  Ahead ahead(a);
  int shaped = 0;
  for (int query = 0; query < a.Q; query += kTileRows) {
    const int count = a.Q - query < kTileRows ? a.Q - query : kTileRows;
    if (count != shaped) configure(shaped = count);
    const Rows rows = whole(readBy(a, query, count), kGranule);
    scores<kv>(a, pairs, query, count, rows, ahead);
    for (int i = query; i < query + count; ++i) softmaxToPairs<kv>(a, i, rows);
    values(a, pairs, query, rows, ahead);
  }
  _tile_release();
}

}  // namespace

void attendBf16Amx(const AttendArgs& a) {
  switch (a.kv) {
    case KvType::kF32:
      return attend<KvType::kF32>(a);
    case KvType::kF16:
      return attend<KvType::kF16>(a);
    case KvType::kBF16:
      return attend<KvType::kBF16>(a);
    case KvType::kInt8:
      return attend<KvType::kInt8>(a);
  }
}

}  // namespace baton
