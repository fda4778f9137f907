// SPDX-License-Identifier: Apache-2.0
// dattend.h with AVX-512: tiles of dattend_blocks.h of up to eight queries or rows. A block's 16
// rows are one register, so eight queries keep eight sums in flight, what two units with a latency
// of four take; where tiles run over columns of D, two to four registers of them share a broadcast.
#include "kernels/attend/dattend_blocks.h"
#include "kernels/math_avx512.h"
#include "kernels/variants.h"

namespace baton {
namespace {

// out [queries, 16] = x . panel for `queries` vectors of `count` such products.
struct Product {
  const float* const* x;
  const float* panel;
  float* out;
};

template <int queries, int count>
void products(const Product* all, int D) {
  __m512 sum[count][queries];
  const float* panel[count];
  BATON_UNROLL
  for (int c = 0; c < count; ++c) {
    panel[c] = all[c].panel;
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) sum[c][i] = _mm512_setzero_ps();
  }
  for (int t = 0; t < D; ++t) {
    BATON_UNROLL
    for (int c = 0; c < count; ++c) {
      const __m512 lanes = _mm512_loadu_ps(panel[c] + t * kBlockRows);
      BATON_UNROLL
      for (int i = 0; i < queries; ++i) {
        sum[c][i] = _mm512_fmadd_ps(_mm512_set1_ps(all[c].x[i][t]), lanes, sum[c][i]);
      }
    }
  }
  BATON_UNROLL
  for (int c = 0; c < count; ++c) {
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) {
      _mm512_store_ps(all[c].out + i * kBlockRows, sum[c][i]);
    }
  }
}

// vectors * 16 columns of out[i] += sum over `depth` steps of weights[i] row; i < count.
struct Columns {
  const float* weights;  // of step s and i at s * step + i * each
  int step, each;
  int depth;
};

template <int count, int vectors, class Row, class Out>
void columnsTile(const Columns& c, const Row& row, const Out& out) {
  __m512 sum[count][vectors];
  BATON_UNROLL
  for (int i = 0; i < count; ++i) {
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) sum[i][u] = _mm512_loadu_ps(out(i) + 16 * u);
  }
  for (int s = 0; s < c.depth; ++s) {
    const float* from = row(s);
    const float* weights = c.weights + s * c.step;
    __m512 part[vectors];
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) part[u] = _mm512_loadu_ps(from + 16 * u);
    BATON_UNROLL
    for (int i = 0; i < count; ++i) {
      const __m512 weight = _mm512_set1_ps(weights[i * c.each]);
      BATON_UNROLL
      for (int u = 0; u < vectors; ++u) sum[i][u] = _mm512_fmadd_ps(weight, part[u], sum[i][u]);
    }
  }
  BATON_UNROLL
  for (int i = 0; i < count; ++i) {
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) _mm512_storeu_ps(out(i) + 16 * u, sum[i][u]);
  }
}

// The same for all D columns. row(s) and out(i) begin at column 0.
template <int count, class Row, class Out>
void columns(const Columns& c, int D, const Row& row, const Out& out) {
  constexpr int kVectors = count <= 4 ? 4 : 2;
  int t = 0;
  for (; t + 16 * kVectors <= D; t += 16 * kVectors) {
    columnsTile<count, kVectors>(
        c, [&](int s) { return row(s) + t; }, [&](int i) { return out(i) + t; });
  }
  for (; t < D; t += 16) {
    columnsTile<count, 1>(c, [&](int s) { return row(s) + t; }, [&](int i) { return out(i) + t; });
  }
}

struct Avx512Tiles {
  static constexpr int kMost = 8;

  template <int queries>
  static void weigh(const DAttendArgs& a, int query, int block, const KvPanel& panel,
                    const BlockWeights& to) {
    alignas(64) float scores[queries * kBlockRows], dps[queries * kBlockRows];
    const Product both[2] = {{a.q + query, panel.k, scores}, {a.dout + query, panel.v, dps}};
    // More at once would want more pointers than there are registers.
    if constexpr (queries <= 5) {
      products<queries, 2>(both, a.D);
    } else {
      products<queries, 1>(both, a.D);
      products<queries, 1>(both + 1, a.D);
    }
    const __m512 scale = _mm512_set1_ps(a.scale);
    for (int i = 0; i < queries; ++i) {
      const RowRange rows{firstOf(a, query + i), a.visible[query + i]};
      const auto read = static_cast<__mmask16>(lanesWithin(rows, block * kBlockRows));
      const __m512 lse = _mm512_set1_ps(a.lse[query + i]);
      const __m512 delta = _mm512_set1_ps(a.delta[query + i]);
      const __m512 s = _mm512_load_ps(scores + i * kBlockRows);
      const __m512 dp = _mm512_load_ps(dps + i * kBlockRows);
      const __m512 p = exp16(_mm512_fmsub_ps(s, scale, lse));
      const __m512 ds = _mm512_mul_ps(p, _mm512_sub_ps(dp, delta));
      if (to.p != nullptr) _mm512_store_ps(to.p + i * to.stride, _mm512_maskz_mov_ps(read, p));
      _mm512_store_ps(to.ds + i * to.stride, _mm512_maskz_mul_ps(read, ds, scale));
    }
  }

  template <int queries>
  static void query(float* const* dq, const float* ds, const float* k, int D, int rows) {
    columns<queries>(
        {ds, 1, kDAttendRows, rows}, D, [=](int j) { return k + j * D; },
        [=](int i) { return dq[i]; });
  }

  template <int rows>
  static void key(const float* const* x, int queries, const float* w, float* out, int ld, int D) {
    columns<rows>(
        {w, kBlockRows, 1, queries}, D, [=](int i) { return x[i]; },
        [=](int j) { return out + j * ld; });
  }
};

}  // namespace

void dAttendQueryAvx512(const DAttendArgs& a) {
  if (a.bf16) return dAttendQueryBf16Avx512(a);
  withKv(a.kv, [&]<KvType kv> { backwardQuery<Avx512Tiles, kv>(a); });
}

void dAttendKeyAvx512(const DAttendArgs& a) {
  if (a.bf16) return dAttendKeyBf16Avx512(a);
  withKv(a.kv, [&]<KvType kv> { backwardKey<Avx512Tiles, kv>(a); });
}

}  // namespace baton
