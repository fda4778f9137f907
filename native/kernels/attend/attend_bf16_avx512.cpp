// SPDX-License-Identifier: Apache-2.0
// attendBf16 with vdpbf16ps: tiles of six queries by four registers of K or V, and every sum in the
// order of its pairs, so that a query has the same bits in any tile. A piece is packed for many
// tiles; of one tile, each pair is made where it is multiplied.
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

// What queries and pieces are, and what a tile of them finds out.
struct Work {
  const AttendArgs& a;
  Pairs pairs;
  Rows read;  // by all queries
  Ahead ahead;
  __mmask16 bad;  // valuePairs(), where V is not packed
};

// q . K for blocks [block, block + blocks) of those before `end`.
template <KvType kv, bool packed, int queries, int blocks>
void scoreTile(Work& work, int query, int block, int end) {
  const AttendArgs& a = work.a;
  const int half = a.D / 2;
  const uint32_t* q = work.pairs.q + static_cast<size_t>(query * half);
  const uint32_t* pairs = work.pairs.k + static_cast<size_t>(block * half) * kBlockRows;
  constexpr size_t kStep = 2 * kBlockRows * kvTypeBytes(kv);  // of a pair of t
  const std::byte* k[blocks];
  NextBlock next[blocks];
  BATON_UNROLL
  for (int b = 0; b < blocks; ++b) {
    k[b] = blockAt(a, a.k, block + b);
    next[b] = {blockAt(a, a.k, block + blocks + b < end ? block + blocks + b : block + b)};
  }
  Sums<queries, blocks> sum;
  for (int t = 0; t < half; ++t) {
    __m512bh key[blocks];
    if constexpr (packed) {
      work.ahead.step();
      BATON_UNROLL
      for (int b = 0; b < blocks; ++b) key[b] = load(pairs + (b * half + t) * kBlockRows);
    } else {
      BATON_UNROLL
      for (int b = 0; b < blocks; ++b) {
        for (size_t line = 0; line < kStep; line += 64) {
          next[b].prefetch(static_cast<size_t>(t) * kStep + line);
          _mm_prefetch(reinterpret_cast<const char*>(k[b] + (a.v - a.k)) +
                           static_cast<size_t>(t) * kStep + line,
                       _MM_HINT_T1);  // of V, which comes after all of K
        }
        key[b] = (__m512bh)keyPairs<kv>(k[b], 2 * t);
      }
    }
    sum.add(q + t, static_cast<size_t>(half), key);
  }
  BATON_UNROLL
  for (int b = 0; b < blocks; ++b) {
    __m512 scales = _mm512_setzero_ps();
    if constexpr (kv == KvType::kInt8) scales = loadKvScales(k[b], a.D);
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) {
      __m512 s = sum.at[i][b];
      if constexpr (kv == KvType::kInt8) s = _mm512_mul_ps(s, scales);
      _mm512_store_ps(scoresOf(a, query + i) + (block + b) * kBlockRows, s);
    }
  }
}

// o[t .. t + 16 * vectors) of these rows.
template <KvType kv, bool packed, int queries, int vectors>
void valueTile(Work& work, int query, int t, const Rows& rows) {
  const AttendArgs& a = work.a;
  const auto D = static_cast<size_t>(a.D);
  const auto* weights = reinterpret_cast<const uint32_t*>(scoresOf(a, query));
  Sums<queries, vectors> sum;
  __mmask16 bad = 0;
  for (int j = rows.begin; j < rows.end; j += 2) {
    __m512bh row[vectors];
    if constexpr (packed) {
      BATON_UNROLL
      for (int u = 0; u < vectors; ++u)
        row[u] = load(work.pairs.v + static_cast<size_t>(j / 2) * D + t + 16 * u);
    } else {
      const std::byte* v = blockAt(a, a.v, j / kBlockRows);
      const bool isLow = j >= work.read.begin && j < work.read.end;
      const bool isHigh = j + 1 >= work.read.begin && j + 1 < work.read.end;
      // What comes next, as fast as V is read: a pair of rows has so many lines.
      for (size_t line = 0; line < 32 * vectors * kvTypeBytes(kv); line += 64) work.ahead.step();
      BATON_UNROLL
      for (int u = 0; u < vectors; ++u) {
        row[u] = (__m512bh)valuePairs<kv>(v, a.D, j % kBlockRows, t + 16 * u, isLow, isHigh, bad);
      }
    }
    sum.add(weights + j / 2, kPieceRows, row);
  }
  work.bad = static_cast<__mmask16>(work.bad | bad);
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    float* o = a.o + static_cast<size_t>(query + i) * D + t;
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) _mm512_storeu_ps(o + 16 * u, sum.at[i][u]);
  }
}

template <KvType kv, bool packed, int queries>
void tile(Work& work, int query) {
  const AttendArgs& a = work.a;
  const Rows rows = whole(readBy(a, query, queries), kBlockRows);
  const int end = rows.end / kBlockRows;
  int block = rows.begin / kBlockRows;
  for (; block + kVectors <= end; block += kVectors)
    scoreTile<kv, packed, queries, kVectors>(work, query, block, end);
  for (; block < end; ++block) scoreTile<kv, packed, queries, 1>(work, query, block, end);
  for (int i = query; i < query + queries; ++i) softmaxToPairs<kv>(a, i, rows);
  int t = 0;
  for (; t + 16 * kVectors <= a.D; t += 16 * kVectors)
    valueTile<kv, packed, queries, kVectors>(work, query, t, rows);
  for (; t < a.D; t += 16) valueTile<kv, packed, queries, 1>(work, query, t, rows);
}

// Queries [query, a.Q), fewer than `queries` + 1.
template <KvType kv, bool packed, int queries>
void lastTile(Work& work, int query) {
  if (work.a.Q - query == queries) return tile<kv, packed, queries>(work, query);
  if constexpr (queries > 1) lastTile<kv, packed, queries - 1>(work, query);
}

template <KvType kv>
void attend(const AttendArgs& a) {
  Work work{a, pairsOf(a), readBy(a, 0, a.Q), Ahead(a), 0};
  if (a.Q <= kQueries) {
    packQueries(a, work.pairs);
    lastTile<kv, false, kQueries>(work, 0);
    if (work.bad != 0) attendAvx512(a);
    return;
  }
  if (!pack<kv>(a, work.pairs, kBlockRows)) return attendAvx512(a);
  int query = 0;
  for (; query + kQueries <= a.Q; query += kQueries) tile<kv, true, kQueries>(work, query);
  lastTile<kv, true, kQueries - 1>(work, query);
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
