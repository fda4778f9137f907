// SPDX-License-Identifier: Apache-2.0
// dlinear.h with AVX2. 32 columns of a chunk of W are dequantised to float32 and stay in the first
// cache while register tiles of up to six rows of dX run over them; dY is copied together first,
// because rows a power of two apart would drive each other out of the cache. Each dx is one FMA
// chain in ascending n within a chunk, and the chunks are added in order, whatever tile it is in.
#include <immintrin.h>

#include "kernels/linear/dlinear.h"
#include "kernels/linear/weights_avx2.h"
#include "kernels/unroll.h"
#include "kernels/variants.h"

namespace baton {
namespace {

// W[n .. n + rows, k .. k + 32) into w [rows, 32], with zeros from column K on.
template <DType type>
void unpackTile(const DLinearArgs& a, int n, int rows, int k, float* w) {
  const size_t stride = rowBytes(type, a.K);
  const int group = k / kDLinearTile, g = group % blockGroups(type);
  const auto* block = static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * stride +
                      static_cast<size_t>(group / blockGroups(type)) * blockBytes(type);
  const int depth = a.K - k;
  for (int i = 0; i < rows; ++i, block += stride, w += kDLinearTile) {
    // The next chunk: rows lie too far apart for the CPU to see where this goes.
    _mm_prefetch(reinterpret_cast<const char*>(block + kDLinearChunk * stride), _MM_HINT_T1);
    const Group8x4 out = depth >= 32 ? loadGroup<type>(block, g) : loadTail<type>(block, depth);
    BATON_UNROLL
    for (int p = 0; p < 4; ++p) _mm256_store_ps(w + 8 * p, out.v[p]);
  }
}

// dY[r .. r + rows, n .. n + depth) into out [rows, kDLinearChunk].
void copyGradients(const DLinearArgs& a, int r, int rows, int n, int depth, float* out) {
  for (int i = 0; i < rows; ++i, out += kDLinearChunk) {
    const float* dy = a.dy + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n;
    for (int j = 0; j < depth; j += 8) storeFirst(out + j, loadFirst(dy + j, depth - j), depth - j);
  }
}

// A chunk of the sum and a tile of W: what register tiles run over.
struct Tile {
  const float* w;   // [depth, 32]
  const float* dy;  // [rows, kDLinearChunk]
  int depth;
  bool add;  // to what stands in dx
};

// dx[i][0 .. columns) of `rows` rows, columns <= 16 * halves; `half` is the first of the tile.
template <int rows, int halves>
void registerTile(const Tile& tile, int half, const float* dy, float* dx, int ldx, int columns) {
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
void bothHalves(const Tile& tile, const float* dy, float* dx, int ldx, int columns) {
  if (rows <= 3 && columns > 16) {
    registerTile<rows, 2>(tile, 0, dy, dx, ldx, columns);
    return;
  }
  registerTile<rows, 1>(tile, 0, dy, dx, ldx, columns < 16 ? columns : 16);
  if (columns > 16) registerTile<rows, 1>(tile, 1, dy, dx + 16, ldx, columns - 16);
}

void multiplyTile(const Tile& tile, float* dx, int ldx, int rows, int columns) {
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

template <DType type>
void multiply(const DLinearArgs& a, int k0, int k1, float* scratch) {
  float* const w = scratch;
  float* const dy = w + kDLinearTile * kDLinearChunk;
  for (int r = 0; r < a.R; r += kDLinearRows) {
    const int rows = a.R - r < kDLinearRows ? a.R - r : kDLinearRows;
    for (int n = 0; n < a.N; n += kDLinearChunk) {
      const int depth = a.N - n < kDLinearChunk ? a.N - n : kDLinearChunk;
      copyGradients(a, r, rows, n, depth, dy);
      const Tile tile{w, dy, depth, a.accumulate || n > 0};
      for (int k = k0; k < k1; k += kDLinearTile) {
        unpackTile<type>(a, n, depth, k, w);
        float* dx = a.dx + static_cast<size_t>(r) * static_cast<size_t>(a.ldx) + k;
        multiplyTile(tile, dx, a.ldx, rows, k1 - k < kDLinearTile ? k1 - k : kDLinearTile);
      }
    }
  }
}

}  // namespace

void dLinearAvx2(const DLinearArgs& a, int k0, int k1, void* scratch) {
  auto* memory = static_cast<float*>(scratch);
  withType(a.type, [&](auto type) { multiply<decltype(type)::value>(a, k0, k1, memory); });
}

}  // namespace baton
