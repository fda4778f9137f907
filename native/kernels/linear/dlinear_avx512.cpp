// SPDX-License-Identifier: Apache-2.0
// dlinear.h with AVX-512: register tiles of dlinear_tiles.h of up to twelve rows of dX and 32
// columns, each dx an FMA chain. A step of the largest takes 24 sums of 32 registers, two loads of
// W and twelve of dY, which are broadcast as operands of the sums.
#include "kernels/linear/dlinear_tiles.h"
#include "kernels/variants.h"

namespace baton {
namespace {

constexpr int kMostRows = 12;

// Of the 16 columns from `at` on those below `columns`.
inline __mmask16 columnsFrom(int at, int columns) {
  const int left = columns - at;
  return static_cast<__mmask16>(left >= 16 ? 0xffff : left > 0 ? (1 << left) - 1 : 0);
}

// Where a tile's sums go.
struct Target {
  float* dx;
  size_t ld;
  bool add;        // to what stands there
  __mmask16 mask;  // of the last 16 columns; the others are whole
};

// dx[i] (16 columns * vectors) of `rows` rows.
template <int rows, int vectors>
void registerTile(const float* w, const float* dy, int depth, const Target& to) {
  __m512 sum[rows][vectors];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) sum[i][u] = _mm512_setzero_ps();
  }
  for (int n = 0; n < depth; ++n, w += kDLinearTile) {
    __m512 wn[vectors];
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) wn[u] = _mm512_load_ps(w + 16 * u);
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      const __m512 d = _mm512_set1_ps(dy[i * kDLinearChunk + n]);
      BATON_UNROLL
      for (int u = 0; u < vectors; ++u) sum[i][u] = _mm512_fmadd_ps(d, wn[u], sum[i][u]);
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

void multiplyTile(const DLinearTile& tile, float* dx, int ldx, int rows, int columns) {
  const auto ld = static_cast<size_t>(ldx);
  const __mmask16 mask = columnsFrom(columns > 16 ? 16 : 0, columns);
  const float* dy = tile.dy;
  while (rows > 0) {
    // Thirteen rows are seven and six: a single row would wait for its few sums.
    const int take = rows <= kMostRows ? rows : rows < 2 * kMostRows ? (rows + 1) / 2 : kMostRows;
    const Target to{dx, ld, tile.add, mask};
    withCount<kMostRows>(take, [&]<int count> {
      if (columns > 16) {
        registerTile<count, 2>(tile.w, dy, tile.depth, to);
      } else {
        registerTile<count, 1>(tile.w, dy, tile.depth, to);
      }
    });
    rows -= take;
    dy += take * kDLinearChunk;
    dx += static_cast<size_t>(take) * ld;
  }
}

}  // namespace

void dLinearAvx512(const DLinearArgs& a, int k0, int k1, void* scratch) {
  auto* memory = static_cast<float*>(scratch);
  const auto tiles = [&](const DLinearTile& tile, float* dx, int rows, int columns) {
    multiplyTile(tile, dx, a.ldx, rows, columns);
  };
  withType(a.type,
           [&](auto type) { dLinearTiles<decltype(type)::value>(a, k0, k1, memory, tiles); });
}

}  // namespace baton
