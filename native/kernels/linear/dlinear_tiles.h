// SPDX-License-Identifier: Apache-2.0
// What dlinear.h is with wide registers: 32 columns of a chunk of W are dequantised to float32
// (with AVX2, which every wider set has) and stay in the first cache while register tiles of an
// instruction set run over them; dY is copied together first, because rows a power of two apart
// would drive each other out of the cache. Each dx is one sum in ascending n within a chunk, and
// the chunks are added in order, whatever tile it is in. All static: included by instruction-set
// files only.
#pragma once

#include <immintrin.h>

#include "kernels/linear/dlinear.h"
#include "kernels/linear/weights_avx2.h"
#include "kernels/unroll.h"

namespace baton {

// W[n .. n + rows, k .. k + 32) into w [rows, 32], with zeros from column K on.
template <DType type>
static void unpackTile(const DLinearArgs& a, int n, int rows, int k, float* w) {
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
static inline void copyGradients(const DLinearArgs& a, int r, int rows, int n, int depth,
                                 float* out) {
  for (int i = 0; i < rows; ++i, out += kDLinearChunk) {
    const float* dy = a.dy + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n;
    for (int j = 0; j < depth; j += 8) storeFirst(out + j, loadFirst(dy + j, depth - j), depth - j);
  }
}

// A chunk of the sum and a tile of W: what register tiles run over. A kernel may make something
// else of both, of at most that size.
struct DLinearTile {
  const float* w;   // [depth, 32]
  const float* dy;  // [rows, kDLinearChunk], or what gradients() made
  int depth;
  bool add;  // to what stands in dx
};

// `Kernel` has
//   kRows                                of dY that scratch holds
//   gradients(a, r, rows, n, depth, dy)  copyGradients() or its own form of it
//   weights(depth, w)                    makes of W [depth, 32], in place, what it multiplies
//   multiply(tile, dx, ldx, rows, columns)  dx [rows, columns] (+)= dY W, columns <= 32
template <DType type, class Kernel>
static void dLinearTiles(const DLinearArgs& a, int k0, int k1, float* scratch) {
  float* const w = scratch;
  float* const dy = w + kDLinearTile * kDLinearChunk;
  for (int r = 0; r < a.R; r += Kernel::kRows) {
    const int rows = a.R - r < Kernel::kRows ? a.R - r : Kernel::kRows;
    for (int n = 0; n < a.N; n += kDLinearChunk) {
      const int depth = a.N - n < kDLinearChunk ? a.N - n : kDLinearChunk;
      Kernel::gradients(a, r, rows, n, depth, dy);
      const DLinearTile tile{w, dy, depth, a.accumulate || n > 0};
      for (int k = k0; k < k1; k += kDLinearTile) {
        unpackTile<type>(a, n, depth, k, w);
        Kernel::weights(depth, w);
        float* dx = a.dx + static_cast<size_t>(r) * static_cast<size_t>(a.ldx) + k;
        Kernel::multiply(tile, dx, a.ldx, rows, k1 - k < kDLinearTile ? k1 - k : kDLinearTile);
      }
    }
  }
}

}  // namespace baton
