// SPDX-License-Identifier: Apache-2.0
// Attention over one piece. Tiles of up to six queries share each load of K and V. What a tile
// shares never touches the order of a query's own sums: scores are one FMA chain over D, the sum of
// exponentials runs in 16 lanes over the query's own blocks, o is one FMA chain over its own rows.
// So the bits are those of the query alone.
#include <immintrin.h>

#include "kernels/lanes_avx2.h"
#include "kernels/math_avx2.h"
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
  __m256 sum[queries][blocks][2];
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    BATON_UNROLL
    for (int b = 0; b < blocks; ++b) sum[i][b][0] = sum[i][b][1] = _mm256_setzero_ps();
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
    BATON_UNROLL
    for (int b = 0; b < blocks; ++b) {
      const __m256 k0 = loadKv<kv>(k[b], t * kBlockRows);
      const __m256 k1 = loadKv<kv>(k[b], t * kBlockRows + 8);
      BATON_UNROLL
      for (int i = 0; i < queries; ++i) {
        const __m256 qt = _mm256_broadcast_ss(q[i] + t);
        sum[i][b][0] = _mm256_fmadd_ps(qt, k0, sum[i][b][0]);
        sum[i][b][1] = _mm256_fmadd_ps(qt, k1, sum[i][b][1]);
      }
    }
  }
  BATON_UNROLL
  for (int b = 0; b < blocks; ++b) {
    __m256 scale[2] = {_mm256_set1_ps(a.scale), _mm256_set1_ps(a.scale)};
    if constexpr (kv == KvType::kInt8) {
      scale[0] = _mm256_mul_ps(scale[0], loadKvScales(k[b], a.D, 0));
      scale[1] = _mm256_mul_ps(scale[1], loadKvScales(k[b], a.D, 8));
    }
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) {
      float* s = scoresOf(a, query + i) + (block + b) * kBlockRows;
      _mm256_store_ps(s, _mm256_mul_ps(sum[i][b][0], scale[0]));
      _mm256_store_ps(s + 8, _mm256_mul_ps(sum[i][b][1], scale[1]));
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
  __m256 largest = _mm256_set1_ps(kMinusInfinity);
  for (int j = begin; j < end; j += 8) largest = _mm256_max_ps(largest, _mm256_load_ps(s + j));
  const float m = largestLane(largest);
  a.m[query] = m;
  const __m256 shift = _mm256_set1_ps(m);
  __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int j = begin; j < end; j += kBlockRows) {
    BATON_UNROLL
    for (int half = 0; half < 2; ++half) {
      const __m256 e = exp8(_mm256_sub_ps(_mm256_load_ps(s + j + 8 * half), shift));
      sum[half] = _mm256_add_ps(sum[half], e);
      if constexpr (kv == KvType::kInt8) {
        const __m256 scale = loadKvScales(blockAt(a, a.v, j / kBlockRows), a.D, 8 * half);
        _mm256_store_ps(s + j + 8 * half, _mm256_mul_ps(e, scale));
      } else {
        _mm256_store_ps(s + j + 8 * half, e);
      }
    }
  }
  a.d[query] = sumLanes(_mm256_add_ps(sum[0], sum[1]));
}

// o[t .. t + 8 * vectors) += sum over rows [j0, j1) of e_j V_j, ascending.
template <KvType kv, int queries, int vectors>
void valueTile(const AttendArgs& a, int query, int t, int j0, int j1) {
  __m256 sum[queries][vectors];
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    const float* o = a.o + static_cast<size_t>(query + i) * static_cast<size_t>(a.D) + t;
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) sum[i][u] = _mm256_loadu_ps(o + 8 * u);
  }
  for (int j = j0; j < j1;) {
    const std::byte* v = blockAt(a, a.v, j / kBlockRows);
    const int last = (j / kBlockRows + 1) * kBlockRows;
    for (const int stop = last < j1 ? last : j1; j < stop; ++j) {
      __m256 row[vectors];
      BATON_UNROLL
      for (int u = 0; u < vectors; ++u) {
        row[u] = loadKv<kv>(v, j % kBlockRows * a.D + t + 8 * u);
      }
      BATON_UNROLL
      for (int i = 0; i < queries; ++i) {
        const __m256 e = _mm256_broadcast_ss(scoresOf(a, query + i) + j);
        BATON_UNROLL
        for (int u = 0; u < vectors; ++u) sum[i][u] = _mm256_fmadd_ps(e, row[u], sum[i][u]);
      }
    }
  }
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    float* o = a.o + static_cast<size_t>(query + i) * static_cast<size_t>(a.D) + t;
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) _mm256_storeu_ps(o + 8 * u, sum[i][u]);
  }
}

template <KvType kv, int queries, int vectors>
void values(const AttendArgs& a, int query, int j0, int j1) {
  if (j0 >= j1) return;
  int t = 0;
  for (; t + 8 * vectors <= a.D; t += 8 * vectors) {
    valueTile<kv, queries, vectors>(a, query, t, j0, j1);
  }
  for (; t < a.D; t += 16) valueTile<kv, queries, 2>(a, query, t, j0, j1);
}

template <KvType kv, int queries>
void tile(const AttendArgs& a, int query) {
  constexpr int kBlocks = queries == 1 ? 4 : queries <= 3 ? 2 : 1;
  constexpr int kVectors = queries == 1 ? 8 : queries <= 3 ? 4 : 2;
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
    for (int t = 0; t < a.D; t += 8) _mm256_storeu_ps(o + t, _mm256_setzero_ps());
  }
  if (from >= to) from = to = kPieceRows;  // nothing in common
  scoreBlocks<kv, queries, kBlocks>(a, query, begin / kBlockRows, blocksOf(end));
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) softmax<kv>(a, query + i);
  // Every query in the order of its own rows: what it reads alone, in common, alone.
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    const int visible = a.visible[query + i];
    values<kv, 1, 8>(a, query + i, firstOf(a, query + i), visible < from ? visible : from);
  }
  values<kv, queries, kVectors>(a, query, from, to);
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) values<kv, 1, 8>(a, query + i, to, a.visible[query + i]);
}

template <KvType kv>
void attend(const AttendArgs& a) {
  int query = 0;
  for (; query + 6 <= a.Q; query += 6) tile<kv, 6>(a, query);
  switch (a.Q - query) {
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

void attendAvx2(const AttendArgs& a) {
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

void mergeAvx2(const MergeArgs& a) {
  const float m = *a.m > a.m2 ? *a.m : a.m2;
  if (m == kMinusInfinity) {  // both empty
    for (int t = 0; t < a.D; ++t) a.o[t] = 0;
    *a.d = 0;
    return;
  }
  // An empty side may hold anything in o and d: -inf gives weight 0, and the mask keeps 0 * NaN
  // out.
  const __m256 both = exp8(_mm256_setr_ps(*a.m - m, a.m2 - m, 0, 0, 0, 0, 0, 0));
  const __m256 w1 = _mm256_broadcastss_ps(_mm256_castps256_ps128(both));
  const __m256 w2 = _mm256_broadcastss_ps(_mm_movehdup_ps(_mm256_castps256_ps128(both)));
  const __m256 keep1 = _mm256_cmp_ps(w1, _mm256_setzero_ps(), _CMP_NEQ_UQ);
  const __m256 keep2 = _mm256_cmp_ps(w2, _mm256_setzero_ps(), _CMP_NEQ_UQ);
  for (int t = 0; t < a.D; t += 8) {
    const __m256 o1 = _mm256_and_ps(keep1, _mm256_loadu_ps(a.o + t));
    const __m256 o2 = _mm256_and_ps(keep2, _mm256_loadu_ps(a.o2 + t));
    _mm256_storeu_ps(a.o + t, _mm256_fmadd_ps(o2, w2, _mm256_mul_ps(o1, w1)));
  }
  const float f1 = _mm256_cvtss_f32(w1), f2 = _mm256_cvtss_f32(w2);
  *a.d = (f1 == 0 ? 0 : *a.d * f1) + (f2 == 0 ? 0 : a.d2 * f2);
  *a.m = m;
}

}  // namespace baton
