// SPDX-License-Identifier: Apache-2.0
// attendBf16 with vdpbf16ps: tiles of six queries by four registers of K or V, and every sum in the
// order of its pairs, so that a query has the same bits in any tile.
#include "kernels/attend/attend_pairs_avx512.h"

namespace baton {
namespace {

constexpr int kQueries = 6, kVectors = 4;  // of a tile: 24 sums of 32 registers

inline __m512bh load(const uint32_t* from) {
  return (__m512bh)_mm512_loadu_si512(from);
}

// One pair in all lanes.
inline __m512bh broadcast(const void* from) {
  int pair;
  std::memcpy(&pair, from, sizeof pair);
  return (__m512bh)_mm512_set1_epi32(pair);
}

template <int queries, int vectors>
struct Sums {
  __m512 at[queries][vectors];

  Sums() {
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) {
      BATON_UNROLL
      for (int u = 0; u < vectors; ++u) at[i][u] = _mm512_setzero_ps();
    }
  }

  // Pair `pair` of each query, of which there is one in every `stride` pairs, times `right`.
  void add(const uint32_t* left, size_t stride, const __m512bh* right) {
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) {
      const __m512bh one = broadcast(left + static_cast<size_t>(i) * stride);
      BATON_UNROLL
      for (int u = 0; u < vectors; ++u) at[i][u] = _mm512_dpbf16_ps(at[i][u], one, right[u]);
    }
  }
};

// q . K for blocks [block, block + blocks).
template <KvType kv, int queries, int blocks>
void scoreTile(const AttendArgs& a, const Pairs& pairs, int query, int block, Ahead& ahead) {
  const int half = a.D / 2;
  const uint32_t* q = pairs.q + static_cast<size_t>(query * half);
  const uint32_t* k = pairs.k + static_cast<size_t>(block * half) * kBlockRows;
  Sums<queries, blocks> sum;
  for (int t = 0; t < half; ++t) {
    ahead.step();
    __m512bh key[blocks];
    BATON_UNROLL
    for (int b = 0; b < blocks; ++b) key[b] = load(k + (b * half + t) * kBlockRows);
    sum.add(q + t, static_cast<size_t>(half), key);
  }
  BATON_UNROLL
  for (int b = 0; b < blocks; ++b) {
    __m512 scales = _mm512_setzero_ps();
    if constexpr (kv == KvType::kInt8) scales = loadKvScales(blockAt(a, a.k, block + b), a.D);
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) {
      __m512 s = sum.at[i][b];
      if constexpr (kv == KvType::kInt8) s = _mm512_mul_ps(s, scales);
      _mm512_store_ps(scoresOf(a, query + i) + (block + b) * kBlockRows, s);
    }
  }
}

// o[t .. t + 16 * vectors) of these rows.
template <int queries, int vectors>
void valueTile(const AttendArgs& a, const Pairs& pairs, int query, int t, const Rows& rows) {
  const auto D = static_cast<size_t>(a.D);
  const auto* weights = reinterpret_cast<const uint32_t*>(scoresOf(a, query));
  Sums<queries, vectors> sum;
  for (int pair = rows.begin / 2; pair < rows.end / 2; ++pair) {
    __m512bh row[vectors];
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u)
      row[u] = load(pairs.v + static_cast<size_t>(pair) * D + t + 16 * u);
    sum.add(weights + pair, kPieceRows, row);
  }
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    float* o = a.o + static_cast<size_t>(query + i) * D + t;
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) _mm512_storeu_ps(o + 16 * u, sum.at[i][u]);
  }
}

template <KvType kv, int queries>
void tile(const AttendArgs& a, const Pairs& pairs, int query, Ahead& ahead) {
  const Rows rows = whole(readBy(a, query, queries), kBlockRows);
  int block = rows.begin / kBlockRows;
  for (; block + kVectors <= rows.end / kBlockRows; block += kVectors)
    scoreTile<kv, queries, kVectors>(a, pairs, query, block, ahead);
  for (; block < rows.end / kBlockRows; ++block)
    scoreTile<kv, queries, 1>(a, pairs, query, block, ahead);
  for (int i = query; i < query + queries; ++i) softmaxToPairs<kv>(a, i, rows);
  int t = 0;
  for (; t + 16 * kVectors <= a.D; t += 16 * kVectors)
    valueTile<queries, kVectors>(a, pairs, query, t, rows);
  for (; t < a.D; t += 16) valueTile<queries, 1>(a, pairs, query, t, rows);
}

// Queries [query, a.Q), fewer than `queries` + 1.
template <KvType kv, int queries>
void lastTile(const AttendArgs& a, const Pairs& pairs, int query, Ahead& ahead) {
  if (a.Q - query == queries) return tile<kv, queries>(a, pairs, query, ahead);
  if constexpr (queries > 1) lastTile<kv, queries - 1>(a, pairs, query, ahead);
}

template <KvType kv>
void attend(const AttendArgs& a) {
  const Pairs pairs = pairsOf(a);
  if (!pack<kv>(a, pairs, kBlockRows)) return attendAvx512(a);
  Ahead ahead(a);
  int query = 0;
  for (; query + kQueries <= a.Q; query += kQueries) tile<kv, kQueries>(a, pairs, query, ahead);
  lastTile<kv, kQueries - 1>(a, pairs, query, ahead);
}

}  // namespace

void attendBf16Avx512(const AttendArgs& a) {
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
