// SPDX-License-Identifier: Apache-2.0
// dattend.h with AVX2: tiles of dattend_blocks.h of up to six queries or rows and 16 lanes.
#include "kernels/attend/dattend_blocks.h"
#include "kernels/variants.h"

namespace baton {
namespace {

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

// p and ds of `queries` queries from `query` on and one block. Lanes that a query does not read
// become 0.
template <int queries>
void weighTile(const DAttendArgs& a, int query, int block, const KvPanel& panel,
               const BlockWeights& out) {
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

struct Avx2Tiles {
  static constexpr int kMost = 6;

  template <int queries>
  static void weigh(const DAttendArgs& a, int query, int block, const KvPanel& panel,
                    const BlockWeights& out) {
    weighTile<queries>(a, query, block, panel, out);
  }

  template <int queries>
  static void query(float* const* dq, const float* ds, const float* k, int D, int rows) {
    for (int t = 0; t < D; t += 16) queryTile<queries>(dq, ds, k, D, rows, t);
  }

  template <int rows>
  static void key(const float* const* x, int queries, const float* w, float* out, int ld, int D) {
    for (int t = 0; t < D; t += 16) keyTile<rows>(x, queries, w, out, ld, t);
  }
};

}  // namespace

void dAttendQueryAvx2(const DAttendArgs& a) {
  withKv(a.kv, [&]<KvType kv> { backwardQuery<Avx2Tiles, kv>(a); });
}

void dAttendKeyAvx2(const DAttendArgs& a) {
  withKv(a.kv, [&]<KvType kv> { backwardKey<Avx2Tiles, kv>(a); });
}

}  // namespace baton
