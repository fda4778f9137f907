// SPDX-License-Identifier: Apache-2.0
// Attention over one piece, as in attend_avx2.cpp with a block of 16 keys in one register: tiles of
// up to eight queries share each load of K and V, and never the order of a query's own sums.
#include <immintrin.h>

#include "kernels/math_avx512.h"
#include "kernels/unroll.h"
#include "kernels/variants.h"

namespace baton {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

inline int blocksOf(int rows) {
  return (rows + kBlockRows - 1) / kBlockRows;
}

inline const std::byte* blockAt(const AttendArgs& a, const std::byte* base, int block) {
  return base + static_cast<size_t>(a.blocks[block]) * a.blockStride;
}

inline float* scoresOf(const AttendArgs& a, int query) {
  return a.scores + static_cast<size_t>(query) * kPieceRows;
}

inline int firstOf(const AttendArgs& a, int query) {
  return a.first == nullptr ? 0 : a.first[query];
}

// Few queries are bound by memory, and blocks lie apart: ask for the next K and for this V while K
// is in work.
constexpr int kFewQueries = 4;
constexpr int kCacheLine = 64;  // bytes

// s = scale * q . K for `queries` queries from `query` on and `blocks` blocks from `block` of
// `count` on.
template <KvType kv, int queries, int blocks>
void scoreTile(const AttendArgs& a, int query, int block, int count) {
  const std::byte* k[blocks];
  const std::byte* nextK[blocks];
  const std::byte* v[blocks];
  BATON_UNROLL
  for (int b = 0; b < blocks; ++b) {
    k[b] = blockAt(a, a.k, block + b);
    v[b] = blockAt(a, a.v, block + b);
    nextK[b] = block + blocks + b < count ? blockAt(a, a.k, block + blocks + b) : k[b];
  }
  __m512 sum[queries][blocks];
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    BATON_UNROLL
    for (int b = 0; b < blocks; ++b) sum[i][b] = _mm512_setzero_ps();
  }
  const float* const* q = a.q + query;
  for (int t = 0; t < a.D; ++t) {
    constexpr int kBytes = kBlockRows * kvTypeBytes(kv);  // of a lane
    if (queries <= kFewQueries && t % (kCacheLine / kBytes) == 0) {
      const int at = t * kBytes;
      BATON_UNROLL
      for (int b = 0; b < blocks; ++b) {
        _mm_prefetch(reinterpret_cast<const char*>(nextK[b] + at), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(v[b] + at), _MM_HINT_T1);
      }
    }
    __m512 key[blocks];
    BATON_UNROLL
    for (int b = 0; b < blocks; ++b) key[b] = loadKv<kv>(k[b], t * kBlockRows);
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) {
      const __m512 qt = _mm512_set1_ps(q[i][t]);
      BATON_UNROLL
      for (int b = 0; b < blocks; ++b) sum[i][b] = _mm512_fmadd_ps(qt, key[b], sum[i][b]);
    }
  }
  BATON_UNROLL
  for (int b = 0; b < blocks; ++b) {
    __m512 scale = _mm512_set1_ps(a.scale);
    if constexpr (kv == KvType::kInt8) scale = _mm512_mul_ps(scale, loadKvScales(k[b], a.D));
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) {
      float* s = scoresOf(a, query + i) + (block + b) * kBlockRows;
      _mm512_store_ps(s, _mm512_mul_ps(sum[i][b], scale));
    }
  }
}

template <KvType kv, int queries, int blocks>
void scoreBlocks(const AttendArgs& a, int query, int block, int count) {
  for (; block + blocks <= count; block += blocks)
    scoreTile<kv, queries, blocks>(a, query, block, count);
  for (; block < count; ++block) scoreTile<kv, queries, 1>(a, query, block, count);
}

// Scores of one query to the weights of its rows of V, m and d. A weight is e^(s - m), of int8
// times the scale of the row. Lanes that the query does not read become -inf, then 0 or, where the
// scale is NaN, NaN: nobody reads them.
template <KvType kv>
void softmax(const AttendArgs& a, int query) {
  const int first = firstOf(a, query);
  const int visible = a.visible[query];
  a.m[query] = kMinusInfinity;
  a.d[query] = 0;
  if (first >= visible) return;
  const int begin = first / kBlockRows * kBlockRows;
  const int end = blocksOf(visible) * kBlockRows;
  float* s = scoresOf(a, query);
  for (int j = begin; j < first; ++j) s[j] = kMinusInfinity;
  for (int j = visible; j < end; ++j) s[j] = kMinusInfinity;
  __m512 largest = _mm512_set1_ps(kMinusInfinity);
  for (int j = begin; j < end; j += kBlockRows) {
    largest = _mm512_max_ps(largest, _mm512_load_ps(s + j));
  }
  const float m = _mm512_reduce_max_ps(largest);
  a.m[query] = m;
  const __m512 shift = _mm512_set1_ps(m);
  __m512 sum = _mm512_setzero_ps();
  for (int j = begin; j < end; j += kBlockRows) {
    __m512 e = exp16(_mm512_sub_ps(_mm512_load_ps(s + j), shift));
    sum = _mm512_add_ps(sum, e);
    if constexpr (kv == KvType::kInt8) {
      e = _mm512_mul_ps(e, loadKvScales(blockAt(a, a.v, j / kBlockRows), a.D));
    }
    _mm512_store_ps(s + j, e);
  }
  a.d[query] = _mm512_reduce_add_ps(sum);
}

// While V is in work memory would rest: row j's share of the K that comes next.
inline void prefetchNext(const AttendArgs& a, int j) {
  if (j / kBlockRows >= a.next.count) return;
  const auto bytes = static_cast<size_t>(a.D * kvTypeBytes(a.kv));
  const auto block = static_cast<size_t>(a.next.blocks[j / kBlockRows]);
  const std::byte* at =
      a.next.k + block * a.blockStride + static_cast<size_t>(j % kBlockRows) * bytes;
  for (size_t line = 0; line < bytes; line += kCacheLine)
    _mm_prefetch(reinterpret_cast<const char*>(at) + line, _MM_HINT_T1);
}

// o[t .. t + 16 * vectors) += sum over rows [j0, j1) of e_j V_j, ascending.
template <KvType kv, int queries, int vectors>
void valueTile(const AttendArgs& a, int query, int t, int j0, int j1) {
  __m512 sum[queries][vectors];
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    const float* o = a.o + static_cast<size_t>(query + i) * static_cast<size_t>(a.D) + t;
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) sum[i][u] = _mm512_loadu_ps(o + 16 * u);
  }
  for (int j = j0; j < j1;) {
    const std::byte* v = blockAt(a, a.v, j / kBlockRows);
    const int last = (j / kBlockRows + 1) * kBlockRows;
    for (const int stop = last < j1 ? last : j1; j < stop; ++j) {
      if (queries <= kFewQueries && t == 0) prefetchNext(a, j);
      __m512 row[vectors];
      BATON_UNROLL
      for (int u = 0; u < vectors; ++u) {
        row[u] = loadKv<kv>(v, j % kBlockRows * a.D + t + 16 * u);
      }
      BATON_UNROLL
      for (int i = 0; i < queries; ++i) {
        const __m512 e = _mm512_set1_ps(scoresOf(a, query + i)[j]);
        BATON_UNROLL
        for (int u = 0; u < vectors; ++u) sum[i][u] = _mm512_fmadd_ps(e, row[u], sum[i][u]);
      }
    }
  }
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    float* o = a.o + static_cast<size_t>(query + i) * static_cast<size_t>(a.D) + t;
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) _mm512_storeu_ps(o + 16 * u, sum[i][u]);
  }
}

template <KvType kv, int queries, int vectors>
void values(const AttendArgs& a, int query, int j0, int j1) {
  if (j0 >= j1) return;
  int t = 0;
  for (; t + 16 * vectors <= a.D; t += 16 * vectors) {
    valueTile<kv, queries, vectors>(a, query, t, j0, j1);
  }
  for (; t < a.D; t += 16) valueTile<kv, queries, 1>(a, query, t, j0, j1);
}

template <KvType kv, int queries>
void tile(const AttendArgs& a, int query) {
  constexpr int kBlocks = queries <= 3 ? 4 : 2;
  constexpr int kVectors = queries <= 4 ? 4 : 2;
  // Blocks [begin, end) of the tile hold rows that some query reads; all read rows [from, to).
  int begin = kPieceRows, end = 0, from = 0, to = kPieceRows;
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    const int first = firstOf(a, query + i), visible = a.visible[query + i];
    begin = first < visible && first < begin ? first : begin;
    end = first < visible && visible > end ? visible : end;
    from = first > from ? first : from;
    to = visible < to ? visible : to;
    float* o = a.o + static_cast<size_t>(query + i) * static_cast<size_t>(a.D);
    for (int t = 0; t < a.D; t += 16) _mm512_storeu_ps(o + t, _mm512_setzero_ps());
  }
  if (from >= to) from = to = kPieceRows;  // nothing in common
  scoreBlocks<kv, queries, kBlocks>(a, query, begin / kBlockRows, blocksOf(end));
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) softmax<kv>(a, query + i);
  // Every query in the order of its own rows: what it reads alone, in common, alone.
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    const int visible = a.visible[query + i];
    values<kv, 1, 4>(a, query + i, firstOf(a, query + i), visible < from ? visible : from);
  }
  values<kv, queries, kVectors>(a, query, from, to);
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) values<kv, 1, 4>(a, query + i, to, a.visible[query + i]);
}

template <KvType kv>
void attend(const AttendArgs& a) {
  int query = 0;
  for (; query + 8 <= a.Q; query += 8) tile<kv, 8>(a, query);
  switch (a.Q - query) {
    case 7:
      tile<kv, 7>(a, query);
      break;
    case 6:
      tile<kv, 6>(a, query);
      break;
    case 5:
      tile<kv, 5>(a, query);
      break;
    case 4:
      tile<kv, 4>(a, query);
      break;
    case 3:
      tile<kv, 3>(a, query);
      break;
    case 2:
      tile<kv, 2>(a, query);
      break;
    case 1:
      tile<kv, 1>(a, query);
      break;
    default:
      break;
  }
}

}  // namespace

void attendAvx512(const AttendArgs& a) {
  switch (a.kv) {
    case KvType::kF32:
      attend<KvType::kF32>(a);
      break;
    case KvType::kF16:
      attend<KvType::kF16>(a);
      break;
    case KvType::kBF16:
      attend<KvType::kBF16>(a);
      break;
    case KvType::kInt8:
      attend<KvType::kInt8>(a);
      break;
  }
}

}  // namespace baton
