// SPDX-License-Identifier: Apache-2.0
// What dattend.h is with wide registers: a block's K and V are laid out once as float32, as each
// product wants them (with AVX2, which every wider set has); then register tiles of an instruction
// set run over them. Here stands which rows and queries meet; `Tiles` has the arithmetic:
//   kMost             queries or rows of its largest tile
//   weigh<queries>    p and ds of queries and one block; 0 in lanes that a query does not read
//   query<queries>    dq [queries, D] += ds . K over rows, ascending
//   key<rows>         out [rows, D] += w . x over queries, ascending
// Tiles share loads, never sums: a score is one FMA chain over D, an element of dq one over rows,
// of dk and dv one over queries. All static: included by instruction-set files only.
#pragma once

#include <immintrin.h>

#include "kernels/attend/dattend_ranges.h"
#include "kernels/lanes_avx2.h"
#include "kernels/math_avx2.h"
#include "kernels/unroll.h"

namespace baton {

// A block with a row in each lane: [D, 16].
struct KvPanel {
  const float* k;
  const float* v;
};

template <KvType kv>
static KvPanel layOut(const DAttendArgs& a, int block, float* kOut, float* vOut) {
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
static inline void layRows(const float* panel, int D, RowRange read, float* out) {
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

// Where a tile of queries puts p and ds of a block: row i at i * stride. p may be null.
struct BlockWeights {
  float* p;
  float* ds;
  int stride;
};

template <class Tiles, KvType kv>
static void backwardQuery(const DAttendArgs& a) {
  const RowRange all = readBy(a, 0, a.Q);
  float* const kPanel = a.scratch;
  float* const vPanel = kPanel + a.D * kBlockRows;
  float* const kRows = vPanel + a.D * kBlockRows;
  float* const ds = kRows + a.D * kDAttendRows;
  for (int group = 0; group < all.end; group += kDAttendRows) {
    const RowRange blocks = blocksIn(all, group);
    for (int block = blocks.begin; block < blocks.end; ++block) {
      const KvPanel panel = layOut<kv>(a, block, kPanel, vPanel);
      const int from = block * kBlockRows;
      layRows(panel.k, a.D, {all.begin - from, all.end - from}, kRows + (from - group) * a.D);
      tiles<Tiles::kMost>(a.Q, [&]<int queries>(int i) {
        const RowRange own = blocksIn(readBy(a, i, queries), group);
        if (block < own.begin || block >= own.end) return;
        Tiles::template weigh<queries>(
            a, i, block, panel, {nullptr, ds + i * kDAttendRows + from - group, kDAttendRows});
      });
    }
    tiles<Tiles::kMost>(a.Q, [&]<int queries>(int i) {
      const RowRange own = blocksIn(readBy(a, i, queries), group);
      const int from = own.begin * kBlockRows - group;
      if (own.begin >= own.end) return;
      Tiles::template query<queries>(a.dq + i, ds + i * kDAttendRows + from, kRows + from * a.D,
                                     a.D, (own.end - own.begin) * kBlockRows);
    });
  }
}

template <class Tiles, KvType kv>
static void backwardKey(const DAttendArgs& a) {
  const RowRange all = readBy(a, 0, a.Q);
  float* const kPanel = a.scratch;
  float* const vPanel = kPanel + a.D * kBlockRows;
  float* const p = vPanel + a.D * kBlockRows;
  float* const ds = p + kMaxQueries * kBlockRows;
  for (int from = all.begin / kBlockRows * kBlockRows; from < all.end; from += kBlockRows) {
    const int block = from / kBlockRows;
    // Queries [begin, end) hold all that read rows of this block.
    RowRange readers{a.Q, 0};
    for (int i = 0; i < a.Q; ++i) {
      const int first = firstOf(a, i), visible = a.visible[i];
      if (first >= visible || visible <= from || first >= from + kBlockRows) continue;
      readers.begin = i < readers.begin ? i : readers.begin;
      readers.end = i + 1;
    }
    if (readers.begin >= readers.end) continue;
    const int count = readers.end - readers.begin;
    const KvPanel panel = layOut<kv>(a, block, kPanel, vPanel);
    tiles<Tiles::kMost>(count, [&]<int queries>(int i) {
      Tiles::template weigh<queries>(a, readers.begin + i, block, panel,
                                     {p + i * kBlockRows, ds + i * kBlockRows, kBlockRows});
    });
    const int begin = all.begin > from ? all.begin : from;
    const int end = all.end < from + kBlockRows ? all.end : from + kBlockRows;
    tiles<Tiles::kMost>(end - begin, [&]<int rows>(int j) {
      const int row = begin + j, lane = row - from;
      const size_t at = static_cast<size_t>(row) * static_cast<size_t>(a.ldk);
      Tiles::template key<rows>(a.q + readers.begin, count, ds + lane, a.dk + at, a.ldk, a.D);
      Tiles::template key<rows>(a.dout + readers.begin, count, p + lane, a.dv + at, a.ldk, a.D);
    });
  }
}

}  // namespace baton
