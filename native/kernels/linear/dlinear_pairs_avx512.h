// SPDX-License-Identifier: Apache-2.0
// The operands of dlinear_tiles.h as pairs of bfloat16, which is how vdpbf16ps and AMX take them: a
// word has n in its lower half and n + 1 in its upper one. Behind the depth stand zeros up to the
// next multiple of 32 n. All static: included by instruction-set files only.
#pragma once

#include <immintrin.h>

#include "kernels/linear/dlinear.h"

namespace baton {

inline constexpr int kDLinearPairs = kDLinearChunk / 2;  // words of a row of dY

// Of the 16 lanes from `at` on those below `end`.
static inline __mmask16 lanesFrom(int at, int end) {
  const int left = end - at;
  return static_cast<__mmask16>(left >= 16 ? 0xffff : left > 0 ? (1 << left) - 1 : 0);
}

static inline __m512i bfloats(__m512 low, __m512 high) {
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// dY[r .. r + rows, n .. n + depth) into out [rows, kDLinearPairs].
static inline void roundGradients(const DLinearArgs& a, int r, int rows, int n, int depth,
                                  float* out) {
  for (int i = 0; i < rows; ++i, out += kDLinearPairs) {
    const float* dy = a.dy + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n;
    for (int j = 0; j < depth; j += 32) {
      const __m512 low = _mm512_maskz_loadu_ps(lanesFrom(j, depth), dy + j);
      const __m512 high = _mm512_maskz_loadu_ps(lanesFrom(j + 16, depth), dy + j + 16);
      _mm512_store_si512(out + j / 2, bfloats(low, high));
    }
  }
}

// w [depth, 32] to [depth / 2, 32], in place: two rows become one.
static inline void roundWeights(int depth, float* w) {
  alignas(64) static constexpr uint16_t kInterleave[32] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i order = _mm512_load_si512(kInterleave);
  for (int n = 0; n < (depth + 31) / 32 * 32; n += 2) {
    __m512i pairs[2];
    for (int u = 0; u < 2; ++u) {
      const float* from = w + n * kDLinearTile + 16 * u;
      const __m512 first = n < depth ? _mm512_load_ps(from) : _mm512_setzero_ps();
      const __m512 second =
          n + 1 < depth ? _mm512_load_ps(from + kDLinearTile) : _mm512_setzero_ps();
      pairs[u] = _mm512_permutexvar_epi16(order, bfloats(first, second));
    }
    // Row n / 2 has been read: where n is 0 just now.
    for (int u = 0; u < 2; ++u) {
      _mm512_store_si512(w + n / 2 * kDLinearTile + 16 * u, pairs[u]);
    }
  }
}

}  // namespace baton
