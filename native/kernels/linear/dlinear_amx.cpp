// SPDX-License-Identifier: Apache-2.0
// dlinear.h with `bf16` by the tiles of AMX (Intel SDM, volume 1, "Programming with Intel AMX"): 32
// rows of dX by 32 columns in four tiles of sums, 32 n a step, from operands as AVX-512 has them
// (dlinear_pairs_avx512.h). A tile adds in an order of its own, so that fewer rows take it as well:
// what stands behind them in scratch makes sums that nobody reads.
#include "kernels/linear/dlinear_pairs_avx512.h"
#include "kernels/linear/dlinear_tiles.h"
#include "kernels/linear/store_avx512.h"
#include "kernels/linear/tiles_amx.h"
#include "kernels/variants.h"

namespace baton {
namespace {

// Tile registers: sums of (rows, columns), rows of dY, columns of W. Numbers are parts of
// instructions, hence macros.
#define BATON_SUM_00 0
#define BATON_SUM_01 1
#define BATON_SUM_10 2
#define BATON_SUM_11 3
#define BATON_DY_0 4
#define BATON_DY_1 5
#define BATON_W_0 6
#define BATON_W_1 7

constexpr int kBlock = 32;  // rows and columns of dX
constexpr int kDyBytes = kDLinearPairs * 4, kWBytes = kDLinearTile * 4, kSumBytes = kBlock * 4;
static_assert(kDLinearTile == kBlock && kDLinearRowsBf16 % kBlock == 0);

// sums [32, 32] = dY W for 32 rows of dY, or sums [16, 32] for 16.
template <bool both>
void multiplyBlock(const float* dy, const float* w, int depth, float* sums) {
  writeMemory();
  _tile_zero(BATON_SUM_00);
  _tile_zero(BATON_SUM_01);
  _tile_zero(BATON_SUM_10);
  _tile_zero(BATON_SUM_11);
  for (int n = 0; n < depth; n += 32, dy += 16, w += 16 * kDLinearTile) {
    _tile_loadd(BATON_DY_0, dy, kDyBytes);
    _tile_loadd(BATON_W_0, w, kWBytes);
    _tile_loadd(BATON_W_1, w + 16, kWBytes);
    _tile_dpbf16ps(BATON_SUM_00, BATON_DY_0, BATON_W_0);
    _tile_dpbf16ps(BATON_SUM_01, BATON_DY_0, BATON_W_1);
    if constexpr (both) {
      _tile_loadd(BATON_DY_1, dy + 16 * kDLinearPairs, kDyBytes);
      _tile_dpbf16ps(BATON_SUM_10, BATON_DY_1, BATON_W_0);
      _tile_dpbf16ps(BATON_SUM_11, BATON_DY_1, BATON_W_1);
    }
  }
  _tile_stored(BATON_SUM_00, sums, kSumBytes);
  _tile_stored(BATON_SUM_01, sums + 16, kSumBytes);
  if constexpr (both) {
    _tile_stored(BATON_SUM_10, sums + 16 * kBlock, kSumBytes);
    _tile_stored(BATON_SUM_11, sums + 16 * kBlock + 16, kSumBytes);
  }
  writeMemory();
}

struct Kernel {
  static constexpr int kRows = kDLinearRowsBf16;

  static void gradients(const DLinearArgs& a, int r, int rows, int n, int depth, float* dy) {
    roundGradients(a, r, rows, n, depth, dy);
  }
  static void weights(int depth, float* w) { roundWeights(depth, w); }

  static void multiply(const DLinearTile& tile, float* dx, int ldx, int rows, int columns) {
    alignas(64) float sums[kBlock * kBlock];
    for (int r = 0; r < rows; r += kBlock) {
      const float* dy = tile.dy + r * kDLinearPairs;
      if (rows - r > kBlock / 2) {
        multiplyBlock<true>(dy, tile.w, tile.depth, sums);
      } else {
        multiplyBlock<false>(dy, tile.w, tile.depth, sums);
      }
      const int end = rows - r < kBlock ? rows - r : kBlock;
      for (int i = 0; i < end; ++i) {
        float* to = dx + static_cast<size_t>(r + i) * static_cast<size_t>(ldx);
        for (int k = 0; k < columns; k += 16) {
          storeRow512(to + k, _mm512_load_ps(sums + i * kBlock + k), columns - k, tile.add);
        }
      }
    }
  }
};

}  // namespace

void dLinearAmx(const DLinearArgs& a, int k0, int k1, void* scratch) {
  if (!a.bf16) return dLinearAvx512(a, k0, k1, scratch);
  auto* memory = static_cast<float*>(scratch);
  const TileShapes shapes = TileShapes::whole();
  writeMemory();
  _tile_loadconfig(&shapes);
  withType(a.type,
           [&](auto type) { dLinearTiles<decltype(type)::value, Kernel>(a, k0, k1, memory); });
  _tile_release();
}

}  // namespace baton
