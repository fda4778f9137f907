// SPDX-License-Identifier: Apache-2.0
// dlinear.h with AVX2. A chunk of a panel of W is dequantised into tiles [kDLinearChunk, 16], then
// register tiles of up to six rows of dX run over it. Each dx is one FMA chain in ascending n
// within a chunk, and the chunks are added in order, whatever tile the row stands in.
#include <immintrin.h>

#include "kernels/linear/dlinear.h"
#include "kernels/linear/weights_avx2.h"
#include "kernels/unroll.h"
#include "kernels/variants.h"

namespace baton {
namespace {

constexpr int kTileColumns = 16;
constexpr int kTileStride = (kDLinearChunk + 1) * kTileColumns;  // floats from tile to tile

// W[n .. n + rows, k0 .. k0 + columns) into the tiles, with zeros up to the next group of 32.
template <DType type>
void unpackChunk(const DLinearArgs& a, int n, int rows, int k0, int columns, float* tiles) {
  const size_t stride = rowBytes(type, a.K);
  const auto* w = static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * stride +
                  rowBytes(type, k0);
  for (int i = 0; i < rows; ++i) {
    const std::byte* block = w + static_cast<size_t>(i) * stride;
    float* tile = tiles + i * kTileColumns;
    int g = 0;  // group of its block
    for (int k = 0; k < columns; k += 32) {
      const int depth = columns - k;
      const Group8x4 group = depth >= 32 ? loadGroup<type>(block, g) : loadTail<type>(block, depth);
      _mm256_store_ps(tile, group.v[0]);
      _mm256_store_ps(tile + 8, group.v[1]);
      _mm256_store_ps(tile + kTileStride, group.v[2]);
      _mm256_store_ps(tile + kTileStride + 8, group.v[3]);
      tile += 2 * kTileStride;
      if (++g == blockGroups(type)) {
        g = 0;
        block += blockBytes(type);
      }
    }
  }
}

// One chunk: `depth` rows of W from row n on.
struct Chunk {
  const float* tiles;
  int n, depth;
  bool add;  // to what stands in dx
};

// dx[r .. r + rows)[k .. k + columns), columns <= 16 * count, from tile k / 16 of a panel on.
template <int rows, int count>
void registerTile(const DLinearArgs& a, const Chunk& chunk, int r, int k, int tile, int columns) {
  __m256 sum[rows][count][2];
  const float* dy[rows];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    dy[i] = a.dy + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + chunk.n;
    BATON_UNROLL
    for (int c = 0; c < count; ++c) sum[i][c][0] = sum[i][c][1] = _mm256_setzero_ps();
  }
  const float* w = chunk.tiles + tile * kTileStride;
  for (int n = 0; n < chunk.depth; ++n) {
    BATON_UNROLL
    for (int c = 0; c < count; ++c) {
      const __m256 w0 = _mm256_load_ps(w + c * kTileStride + n * kTileColumns);
      const __m256 w1 = _mm256_load_ps(w + c * kTileStride + n * kTileColumns + 8);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m256 d = _mm256_broadcast_ss(dy[i] + n);
        sum[i][c][0] = _mm256_fmadd_ps(d, w0, sum[i][c][0]);
        sum[i][c][1] = _mm256_fmadd_ps(d, w1, sum[i][c][1]);
      }
    }
  }
  // Through memory, as in linear_float_avx2.cpp: an array of registers that a loop does not unroll
  // over would live in memory during the sums as well.
  alignas(32) float out[rows][count][kTileColumns];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int c = 0; c < count; ++c) {
      _mm256_store_ps(out[i][c], sum[i][c][0]);
      _mm256_store_ps(out[i][c] + 8, sum[i][c][1]);
    }
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    float* dx = a.dx + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldx) + k;
    BATON_UNROLL
    for (int c = 0; c < count; ++c) {
      const int left = columns - c * kTileColumns;
      storeColumns(dx + c * kTileColumns, _mm256_load_ps(out[i][c]), _mm256_load_ps(out[i][c] + 8),
                   left < kTileColumns ? left : kTileColumns, chunk.add);
    }
  }
}

// All columns of some rows; few rows take several tiles at once, to have eight sums in flight.
template <int rows, int count>
void fewRows(const DLinearArgs& a, const Chunk& chunk, int r, int k0, int columns) {
  int tile = 0;
  for (; (tile + count) * kTileColumns <= columns; tile += count) {
    registerTile<rows, count>(a, chunk, r, k0 + tile * kTileColumns, tile, count * kTileColumns);
  }
  for (; tile * kTileColumns < columns; ++tile) {
    const int left = columns - tile * kTileColumns;
    registerTile<rows, 1>(a, chunk, r, k0 + tile * kTileColumns, tile,
                          left < kTileColumns ? left : kTileColumns);
  }
}

void multiplyChunk(const DLinearArgs& a, const Chunk& chunk, int k0, int columns) {
  const int sixes = a.R / 6 * 6;
  // One tile of W stays in the first cache while the rows pass.
  for (int tile = 0; tile * kTileColumns < columns && sixes > 0; ++tile) {
    const int left = columns - tile * kTileColumns;
    for (int r = 0; r < sixes; r += 6) {
      registerTile<6, 1>(a, chunk, r, k0 + tile * kTileColumns, tile,
                         left < kTileColumns ? left : kTileColumns);
    }
  }
  switch (a.R - sixes) {
    case 5:
      fewRows<5, 1>(a, chunk, sixes, k0, columns);
      break;
    case 4:
      fewRows<4, 1>(a, chunk, sixes, k0, columns);
      break;
    case 3:
      fewRows<3, 2>(a, chunk, sixes, k0, columns);
      break;
    case 2:
      fewRows<2, 2>(a, chunk, sixes, k0, columns);
      break;
    case 1:
      fewRows<1, 4>(a, chunk, sixes, k0, columns);
      break;
    default:
      break;
  }
}

template <DType type>
void panels(const DLinearArgs& a, int k0, int k1, float* tiles) {
  for (; k0 < k1; k0 += kDLinearColumns) {
    const int columns = k1 - k0 < kDLinearColumns ? k1 - k0 : kDLinearColumns;
    for (int n = 0; n < a.N; n += kDLinearChunk) {
      const int depth = a.N - n < kDLinearChunk ? a.N - n : kDLinearChunk;
      unpackChunk<type>(a, n, depth, k0, columns, tiles);
      multiplyChunk(a, {tiles, n, depth, a.accumulate || n > 0}, k0, columns);
    }
  }
}

}  // namespace

void dLinearAvx2(const DLinearArgs& a, int k0, int k1, void* scratch) {
  auto* tiles = static_cast<float*>(scratch);
  withType(a.type, [&](auto type) { panels<decltype(type)::value>(a, k0, k1, tiles); });
}

}  // namespace baton
