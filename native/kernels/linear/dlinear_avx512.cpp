// SPDX-License-Identifier: Apache-2.0
// dlinear.h with AVX-512: register tiles of dlinear_tiles.h of up to twelve rows of dX and 32
// columns. A step of the largest takes 24 sums of 32 registers, two loads of W and twelve of dY,
// each of which all lanes of two sums share: fourteen loads for twelve cycles of two units. Each dx
// is an FMA chain in ascending n; with `bf16` a step is vdpbf16ps: a pair of n, the upper one
// first, subnormal numbers read and left as zeros.
#include "kernels/linear/dlinear_pairs_avx512.h"
#include "kernels/linear/dlinear_tiles.h"
#include "kernels/variants.h"

namespace baton {
namespace {

constexpr int kMostRows = 12;

// Where a tile's sums go.
struct Target {
  float* dx;
  size_t ld;
  bool add;        // to what stands there
  __mmask16 mask;  // of the last 16 columns; the others are whole
};

// A word of an operand is a float or a pair of bfloat16.
template <bool bf16>
constexpr int kWords = bf16 ? kDLinearPairs : kDLinearChunk;  // of a row of dY

// sum + the products of a word each.
template <bool bf16>
inline __m512 addProducts(__m512 sum, __m512 d, __m512 w) {
  if constexpr (bf16) {
    return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)d);
  } else {
    return _mm512_fmadd_ps(d, w, sum);
  }
}

// dx[i] (16 columns * vectors) of `rows` rows, from `words` words of each.
template <bool bf16, int rows, int vectors>
void registerTile(const float* w, const float* dy, int words, const Target& to) {
  __m512 sum[rows][vectors];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) sum[i][u] = _mm512_setzero_ps();
  }
  for (int s = 0; s < words; ++s, w += kDLinearTile) {
    __m512 ws[vectors];
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) ws[u] = _mm512_load_ps(w + 16 * u);
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      const __m512 d = _mm512_set1_ps(dy[i * kWords<bf16> + s]);
      BATON_UNROLL
      for (int u = 0; u < vectors; ++u) sum[i][u] = addProducts<bf16>(sum[i][u], d, ws[u]);
    }
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    float* dx = to.dx + static_cast<size_t>(i) * to.ld;
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) {
      const __mmask16 mask = u + 1 < vectors ? static_cast<__mmask16>(0xffff) : to.mask;
      __m512 out = sum[i][u];
      if (to.add) out = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, dx + 16 * u), out);
      _mm512_mask_storeu_ps(dx + 16 * u, mask, out);
    }
  }
}

// fn.template operator()<n>() for n = count, 1 .. most.
template <int most, class Fn>
inline void withCount(int count, const Fn& fn) {
  if constexpr (most > 1) {
    if (count < most) return withCount<most - 1>(count, fn);
  }
  fn.template operator()<most>();
}

template <bool bf16>
struct Kernel {
  static constexpr int kRows = bf16 ? kDLinearRowsBf16 : kDLinearRows;

  static void gradients(const DLinearArgs& a, int r, int rows, int n, int depth, float* dy) {
    if constexpr (bf16) {
      roundGradients(a, r, rows, n, depth, dy);
    } else {
      copyGradients(a, r, rows, n, depth, dy);
    }
  }
  static void weights(int depth, float* w) {
    if constexpr (bf16) roundWeights(depth, w);
  }
  static void multiply(const DLinearTile& tile, float* dx, int ldx, int rows, int columns) {
    const auto ld = static_cast<size_t>(ldx);
    const __mmask16 mask = lanesFrom(columns > 16 ? 16 : 0, columns);
    const int words = bf16 ? (tile.depth + 1) / 2 : tile.depth;
    const float* dy = tile.dy;
    while (rows > 0) {
      // Thirteen rows are seven and six: a single row would wait for its few sums.
      const int take = rows <= kMostRows ? rows : rows < 2 * kMostRows ? (rows + 1) / 2 : kMostRows;
      const Target to{dx, ld, tile.add, mask};
      withCount<kMostRows>(take, [&]<int count> {
        if (columns > 16) {
          registerTile<bf16, count, 2>(tile.w, dy, words, to);
        } else {
          registerTile<bf16, count, 1>(tile.w, dy, words, to);
        }
      });
      rows -= take;
      dy += take * kWords<bf16>;
      dx += static_cast<size_t>(take) * ld;
    }
  }
};

template <bool bf16>
void multiply(const DLinearArgs& a, int k0, int k1, float* scratch) {
  withType(a.type, [&](auto type) {
    dLinearTiles<decltype(type)::value, Kernel<bf16>>(a, k0, k1, scratch);
  });
}

}  // namespace

void dLinearAvx512(const DLinearArgs& a, int k0, int k1, void* scratch) {
  auto* memory = static_cast<float*>(scratch);
  return a.bf16 ? multiply<true>(a, k0, k1, memory) : multiply<false>(a, k0, k1, memory);
}

}  // namespace baton
