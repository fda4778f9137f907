// SPDX-License-Identifier: Apache-2.0
// dlinear.h with AVX2: register tiles of dlinear_tiles.h of up to six rows of dX and 16 columns, or
// of three and 32, each dx an FMA chain. There are no products of bfloat16: factors stay as they
// are.
#include "kernels/linear/dlinear_tiles.h"
#include "kernels/variants.h"

namespace baton {
namespace {

// dx[i][0 .. columns) of `rows` rows, columns <= 16 * halves; `half` is the first of the tile.
template <int rows, int halves>
void registerTile(const DLinearTile& tile, int half, const float* dy, float* dx, int ldx,
                  int columns) {
  __m256 sum[rows][halves][2];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) sum[i][h][0] = sum[i][h][1] = _mm256_setzero_ps();
  }
  const float* w = tile.w + 16 * half;
  for (int n = 0; n < tile.depth; ++n, w += kDLinearTile) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      const __m256 w0 = _mm256_load_ps(w + 16 * h), w1 = _mm256_load_ps(w + 16 * h + 8);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m256 d = _mm256_broadcast_ss(dy + i * kDLinearChunk + n);
        sum[i][h][0] = _mm256_fmadd_ps(d, w0, sum[i][h][0]);
        sum[i][h][1] = _mm256_fmadd_ps(d, w1, sum[i][h][1]);
      }
    }
  }
  // Through memory, as in linear_float_avx2.cpp: an array of registers that a loop does not unroll
  // over would live in memory during the sums as well.
  alignas(32) float out[rows][halves][16];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      _mm256_store_ps(out[i][h], sum[i][h][0]);
      _mm256_store_ps(out[i][h] + 8, sum[i][h][1]);
    }
  }
  for (int i = 0; i < rows; ++i, dx += ldx) {
    for (int h = 0; h < halves; ++h) {
      const int left = columns - 16 * h;
      storeColumns(dx + 16 * h, _mm256_load_ps(out[i][h]), _mm256_load_ps(out[i][h] + 8),
                   left < 16 ? left : 16, tile.add);
    }
  }
}

// Some rows and all columns of a tile. Few rows take both halves at once, to have more sums in
// flight.
template <int rows>
void bothHalves(const DLinearTile& tile, const float* dy, float* dx, int ldx, int columns) {
  if (rows <= 3 && columns > 16) {
    registerTile<rows, 2>(tile, 0, dy, dx, ldx, columns);
    return;
  }
  registerTile<rows, 1>(tile, 0, dy, dx, ldx, columns < 16 ? columns : 16);
  if (columns > 16) registerTile<rows, 1>(tile, 1, dy, dx + 16, ldx, columns - 16);
}

void multiplyTile(const DLinearTile& tile, float* dx, int ldx, int rows, int columns) {
  const float* dy = tile.dy;
  while (rows > 0) {
    // Seven rows are four and three: a single row would wait for its few sums.
    const int take = rows == 7 ? 4 : rows < 6 ? rows : 6;
    switch (take) {
      case 6:
        bothHalves<6>(tile, dy, dx, ldx, columns);
        break;
      case 5:
        bothHalves<5>(tile, dy, dx, ldx, columns);
        break;
      case 4:
        bothHalves<4>(tile, dy, dx, ldx, columns);
        break;
      case 3:
        bothHalves<3>(tile, dy, dx, ldx, columns);
        break;
      case 2:
        bothHalves<2>(tile, dy, dx, ldx, columns);
        break;
      default:
        bothHalves<1>(tile, dy, dx, ldx, columns);
        break;
    }
    rows -= take;
    dy += take * kDLinearChunk;
    dx += static_cast<size_t>(take) * static_cast<size_t>(ldx);
  }
}

struct Kernel {
  static constexpr int kRows = kDLinearRows;

  static void gradients(const DLinearArgs& a, int r, int rows, int n, int depth, float* dy) {
    copyGradients(a, r, rows, n, depth, dy);
  }
  static void weights(int, float*) {}
  static void multiply(const DLinearTile& tile, float* dx, int ldx, int rows, int columns) {
    multiplyTile(tile, dx, ldx, rows, columns);
  }
};

}  // namespace

void dLinearAvx2(const DLinearArgs& a, int k0, int k1, void* scratch) {
  auto* memory = static_cast<float*>(scratch);
  withType(a.type,
           [&](auto type) { dLinearTiles<decltype(type)::value, Kernel>(a, k0, k1, memory); });
}

}  // namespace baton
