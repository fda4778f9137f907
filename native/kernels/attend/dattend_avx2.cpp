// SPDX-License-Identifier: Apache-2.0
// dattend.h with AVX2. A block's K and V are laid out once as float32, as each product wants them;
// then register tiles of up to six queries (scores, dq) or six rows (dk, dv) run over them. Tiles
// share loads, never sums: a score is one FMA chain over D, an element of dq one over rows, of dk
// and dv one over queries.
#include <immintrin.h>

#include "kernels/lanes_avx2.h"
#include "kernels/math_avx2.h"
#include "kernels/unroll.h"
#include "kernels/variants.h"

namespace baton {
namespace {

inline int firstOf(const DAttendArgs& a, int query) {
  return a.first == nullptr ? 0 : a.first[query];
}

// Rows [begin, end); empty where begin >= end.
struct Range {
  int begin, end;
};

// Least range that holds what `count` queries from `query` on read.
inline Range readBy(const DAttendArgs& a, int query, int count) {
  Range all{kPieceRows, 0};
  for (int i = query; i < query + count; ++i) {
    const int first = firstOf(a, i), visible = a.visible[i];
    if (first >= visible) continue;
    all.begin = first < all.begin ? first : all.begin;
    all.end = visible > all.end ? visible : all.end;
  }
  return all;
}

// A block with a row in each lane: [D, 16].
struct Panel {
  const float* k;
  const float* v;
};

inline const std::byte* blockAt(const DAttendArgs& a, const std::byte* base, int block) {
  return base + static_cast<size_t>(a.blocks[block]) * a.blockStride;
}

template <KvType kv>
Panel layOut(const DAttendArgs& a, int block, float* kOut, float* vOut) {
  const std::byte* k = blockAt(a, a.k, block);
  const std::byte* v = blockAt(a, a.v, block);
  for (int t = 0; t < a.D; t += 8) {
    for (int half = 0; half < kBlockRows; half += 8) {
      __m256 rows[8];
      BATON_UNROLL
      for (int j = 0; j < 8; ++j) rows[j] = loadKv<kv>(v, (half + j) * a.D + t);
      transpose8x8(rows);
      BATON_UNROLL
      for (int i = 0; i < 8; ++i) {
        if constexpr (kv == KvType::kInt8) {
          rows[i] = _mm256_mul_ps(rows[i], loadKvScales(v, a.D, half));
        }
        _mm256_store_ps(vOut + (t + i) * kBlockRows + half, rows[i]);
      }
    }
  }
  if constexpr (kv == KvType::kF32) return {reinterpret_cast<const float*>(k), vOut};
  for (int i = 0; i < a.D * kBlockRows; i += 8) {
    __m256 lanes = loadKv<kv>(k, i);
    if constexpr (kv == KvType::kInt8) {
      lanes = _mm256_mul_ps(lanes, loadKvScales(k, a.D, i % kBlockRows));
    }
    _mm256_store_ps(kOut + i, lanes);
  }
  return {kOut, vOut};
}

// Rows of K from its panel, [16, D]. Those outside `read` (rows of the block) become zeros: they
// are multiplied by zero, and may hold NaN.
void layRows(const float* panel, int D, Range read, float* out) {
  for (int t = 0; t < D; t += 8) {
    for (int half = 0; half < kBlockRows; half += 8) {
      __m256 lanes[8];
      BATON_UNROLL
      for (int i = 0; i < 8; ++i) lanes[i] = _mm256_loadu_ps(panel + (t + i) * kBlockRows + half);
      transpose8x8(lanes);
      BATON_UNROLL
      for (int j = 0; j < 8; ++j) _mm256_store_ps(out + (half + j) * D + t, lanes[j]);
    }
  }
  for (int j = 0; j < kBlockRows; ++j) {
    if (j >= read.begin && j < read.end) continue;
    for (int t = 0; t < D; t += 8) _mm256_store_ps(out + j * D + t, _mm256_setzero_ps());
  }
}

// out [queries, 16] = x . panel for `queries` vectors of `count` such products. Both products of
// few queries run at once, to have more sums in flight.
struct Product {
  const float* const* x;
  const float* panel;
  float* out;
};

template <int queries, int count>
void products(const Product* all, int D) {
  __m256 sum[count][queries][2];
  const float* panel[count];
  BATON_UNROLL
  for (int c = 0; c < count; ++c) {
    panel[c] = all[c].panel;
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) sum[c][i][0] = sum[c][i][1] = _mm256_setzero_ps();
  }
  for (int t = 0; t < D; ++t) {
    BATON_UNROLL
    for (int c = 0; c < count; ++c) {
      const __m256 p0 = _mm256_loadu_ps(panel[c] + t * kBlockRows);
      const __m256 p1 = _mm256_loadu_ps(panel[c] + t * kBlockRows + 8);
      BATON_UNROLL
      for (int i = 0; i < queries; ++i) {
        const __m256 xt = _mm256_broadcast_ss(all[c].x[i] + t);
        sum[c][i][0] = _mm256_fmadd_ps(xt, p0, sum[c][i][0]);
        sum[c][i][1] = _mm256_fmadd_ps(xt, p1, sum[c][i][1]);
      }
    }
  }
  BATON_UNROLL
  for (int c = 0; c < count; ++c) {
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) {
      _mm256_store_ps(all[c].out + i * kBlockRows, sum[c][i][0]);
      _mm256_store_ps(all[c].out + i * kBlockRows + 8, sum[c][i][1]);
    }
  }
}

// Where a tile of queries puts p and ds of a block: row i at i * stride. p may be null.
struct Weights {
  float* p;
  float* ds;
  int stride;
};

// p and ds of `queries` queries from `query` on and one block. Lanes that a query does not read
// become 0.
template <int queries>
void weigh(const DAttendArgs& a, int query, int block, const Panel& panel, const Weights& out) {
  alignas(32) float scores[queries * kBlockRows], dps[queries * kBlockRows];
  const Product both[2] = {{a.q + query, panel.k, scores}, {a.dout + query, panel.v, dps}};
  if constexpr (queries <= 3) {
    products<queries, 2>(both, a.D);
  } else {
    products<queries, 1>(both, a.D);
    products<queries, 1>(both + 1, a.D);
  }
  const __m256 scale = _mm256_set1_ps(a.scale);
  for (int i = 0; i < queries; ++i) {
    const __m256i before = _mm256_set1_epi32(firstOf(a, query + i) - 1);
    const __m256i end = _mm256_set1_epi32(a.visible[query + i]);
    const __m256 lse = _mm256_broadcast_ss(a.lse + query + i);
    const __m256 delta = _mm256_broadcast_ss(a.delta + query + i);
    BATON_UNROLL
    for (int half = 0; half < kBlockRows; half += 8) {
      const __m256i row = _mm256_add_epi32(_mm256_set1_epi32(block * kBlockRows + half),
                                           _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
      const __m256 read = _mm256_castsi256_ps(
          _mm256_and_si256(_mm256_cmpgt_epi32(row, before), _mm256_cmpgt_epi32(end, row)));
      const __m256 s = _mm256_load_ps(scores + i * kBlockRows + half);
      const __m256 dp = _mm256_load_ps(dps + i * kBlockRows + half);
      const __m256 p = exp8(_mm256_fmsub_ps(s, scale, lse));
      const __m256 ds = _mm256_mul_ps(_mm256_mul_ps(p, _mm256_sub_ps(dp, delta)), scale);
      const int at = i * out.stride + half;
      if (out.p != nullptr) _mm256_store_ps(out.p + at, _mm256_and_ps(read, p));
      _mm256_store_ps(out.ds + at, _mm256_and_ps(read, ds));
    }
  }
}

// fn.template operator()<n>(query) for tiles of six queries and the rest of `count`.
template <class Fn>
inline void tiles(int count, const Fn& fn) {
  int i = 0;
  for (; i + 6 <= count; i += 6) fn.template operator()<6>(i);
  switch (count - i) {
    case 5:
      return fn.template operator()<5>(i);
    case 4:
      return fn.template operator()<4>(i);
    case 3:
      return fn.template operator()<3>(i);
    case 2:
      return fn.template operator()<2>(i);
    case 1:
      return fn.template operator()<1>(i);
    default:
      return;
  }
}

// dq[t .. t + 16) += sum over rows [0, rows) of ds K.
template <int queries>
void queryTile(float* const* dq, const float* ds, const float* k, int D, int rows, int t) {
  __m256 sum[queries][2];
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    sum[i][0] = _mm256_loadu_ps(dq[i] + t);
    sum[i][1] = _mm256_loadu_ps(dq[i] + t + 8);
  }
  for (int j = 0; j < rows; ++j) {
    const __m256 k0 = _mm256_load_ps(k + j * D + t);
    const __m256 k1 = _mm256_load_ps(k + j * D + t + 8);
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) {
      const __m256 d = _mm256_broadcast_ss(ds + i * kDAttendRows + j);
      sum[i][0] = _mm256_fmadd_ps(d, k0, sum[i][0]);
      sum[i][1] = _mm256_fmadd_ps(d, k1, sum[i][1]);
    }
  }
  BATON_UNROLL
  for (int i = 0; i < queries; ++i) {
    _mm256_storeu_ps(dq[i] + t, sum[i][0]);
    _mm256_storeu_ps(dq[i] + t + 8, sum[i][1]);
  }
}

// Blocks of rows [group, group + kDAttendRows) that a range touches.
inline Range blocksIn(Range rows, int group) {
  const int begin = rows.begin > group ? rows.begin : group;
  const int end = rows.end < group + kDAttendRows ? rows.end : group + kDAttendRows;
  if (begin >= end) return {0, 0};
  return {begin / kBlockRows, (end + kBlockRows - 1) / kBlockRows};
}

template <KvType kv>
void backwardQuery(const DAttendArgs& a) {
  const Range all = readBy(a, 0, a.Q);
  float* const kPanel = a.scratch;
  float* const vPanel = kPanel + a.D * kBlockRows;
  float* const kRows = vPanel + a.D * kBlockRows;
  float* const ds = kRows + a.D * kDAttendRows;
  for (int group = 0; group < all.end; group += kDAttendRows) {
    const Range blocks = blocksIn(all, group);
    for (int block = blocks.begin; block < blocks.end; ++block) {
      const Panel panel = layOut<kv>(a, block, kPanel, vPanel);
      const int from = block * kBlockRows;
      layRows(panel.k, a.D, {all.begin - from, all.end - from}, kRows + (from - group) * a.D);
      tiles(a.Q, [&]<int queries>(int i) {
        const Range own = blocksIn(readBy(a, i, queries), group);
        if (block < own.begin || block >= own.end) return;
        weigh<queries>(a, i, block, panel,
                       {nullptr, ds + i * kDAttendRows + from - group, kDAttendRows});
      });
    }
    tiles(a.Q, [&]<int queries>(int i) {
      const Range own = blocksIn(readBy(a, i, queries), group);
      const int from = own.begin * kBlockRows - group;
      for (int t = 0; t < a.D && own.begin < own.end; t += 16) {
        queryTile<queries>(a.dq + i, ds + i * kDAttendRows + from, kRows + from * a.D, a.D,
                           (own.end - own.begin) * kBlockRows, t);
      }
    });
  }
}

// out[j][t .. t + 16) += sum over queries [0, queries) of w_ij x_i, for `rows` rows.
template <int rows>
void keyTile(const float* const* x, int queries, const float* w, float* out, int ld, int t) {
  __m256 sum[rows][2];
  BATON_UNROLL
  for (int j = 0; j < rows; ++j) {
    sum[j][0] = _mm256_loadu_ps(out + j * ld + t);
    sum[j][1] = _mm256_loadu_ps(out + j * ld + t + 8);
  }
  for (int i = 0; i < queries; ++i) {
    const __m256 x0 = _mm256_loadu_ps(x[i] + t);
    const __m256 x1 = _mm256_loadu_ps(x[i] + t + 8);
    BATON_UNROLL
    for (int j = 0; j < rows; ++j) {
      const __m256 weight = _mm256_broadcast_ss(w + i * kBlockRows + j);
      sum[j][0] = _mm256_fmadd_ps(weight, x0, sum[j][0]);
      sum[j][1] = _mm256_fmadd_ps(weight, x1, sum[j][1]);
    }
  }
  BATON_UNROLL
  for (int j = 0; j < rows; ++j) {
    _mm256_storeu_ps(out + j * ld + t, sum[j][0]);
    _mm256_storeu_ps(out + j * ld + t + 8, sum[j][1]);
  }
}

template <KvType kv>
void backwardKey(const DAttendArgs& a) {
  const Range all = readBy(a, 0, a.Q);
  float* const kPanel = a.scratch;
  float* const vPanel = kPanel + a.D * kBlockRows;
  float* const p = vPanel + a.D * kBlockRows;
  float* const ds = p + kMaxQueries * kBlockRows;
  for (int from = all.begin / kBlockRows * kBlockRows; from < all.end; from += kBlockRows) {
    const int block = from / kBlockRows;
    // Queries [begin, end) hold all that read rows of this block.
    Range readers{a.Q, 0};
    for (int i = 0; i < a.Q; ++i) {
      const int first = firstOf(a, i), visible = a.visible[i];
      if (first >= visible || visible <= from || first >= from + kBlockRows) continue;
      readers.begin = i < readers.begin ? i : readers.begin;
      readers.end = i + 1;
    }
    if (readers.begin >= readers.end) continue;
    const int count = readers.end - readers.begin;
    const Panel panel = layOut<kv>(a, block, kPanel, vPanel);
    tiles(count, [&]<int queries>(int i) {
      weigh<queries>(a, readers.begin + i, block, panel,
                     {p + i * kBlockRows, ds + i * kBlockRows, kBlockRows});
    });
    const int begin = all.begin > from ? all.begin : from;
    const int end = all.end < from + kBlockRows ? all.end : from + kBlockRows;
    tiles(end - begin, [&]<int rows>(int j) {
      const int row = begin + j, lane = row - from;
      const size_t at = static_cast<size_t>(row) * static_cast<size_t>(a.ldk);
      for (int t = 0; t < a.D; t += 16) {
        keyTile<rows>(a.q + readers.begin, count, ds + lane, a.dk + at, a.ldk, t);
        keyTile<rows>(a.dout + readers.begin, count, p + lane, a.dv + at, a.ldk, t);
      }
    });
  }
}

}  // namespace

void dAttendQueryAvx2(const DAttendArgs& a) {
  switch (a.kv) {
    case KvType::kF32:
      return backwardQuery<KvType::kF32>(a);
    case KvType::kF16:
      return backwardQuery<KvType::kF16>(a);
    case KvType::kBF16:
      return backwardQuery<KvType::kBF16>(a);
    case KvType::kInt8:
      return backwardQuery<KvType::kInt8>(a);
  }
}

void dAttendKeyAvx2(const DAttendArgs& a) {
  switch (a.kv) {
    case KvType::kF32:
      return backwardKey<KvType::kF32>(a);
    case KvType::kF16:
      return backwardKey<KvType::kF16>(a);
    case KvType::kBF16:
      return backwardKey<KvType::kBF16>(a);
    case KvType::kInt8:
      return backwardKey<KvType::kInt8>(a);
  }
}

}  // namespace baton
