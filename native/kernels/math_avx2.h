// SPDX-License-Identifier: Apache-2.0
// What several AVX2 kernels need: exp, and loads of stored K and V. All static: included by
// instruction-set files only.
#pragma once

#include <immintrin.h>

#include <cstddef>

#include "base/dtype.h"

namespace baton {

// e^x with relative error below 2e-7: x = n ln 2 + r, |r| <= 0.35, Taylor to r^7, times 2^n.
// Results below the smallest normal float (x < -87.336, -inf included) are 0; x above 88.37 gives
// e^88.37; NaN stays NaN.
static inline __m256 exp8(__m256 x) {
  const __m256 inRange = _mm256_cmp_ps(x, _mm256_set1_ps(-87.33654f), _CMP_NLT_UQ);
  // Operand order: min returns the second operand when one is NaN.
  x = _mm256_min_ps(_mm256_set1_ps(88.37626f), x);
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e4p-1f), x);  // ln 2, upper 16 bits
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.7f7d1cp-20f), r);      // the rest of it
  __m256 p = _mm256_set1_ps(1.0f / 5040);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_and_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(exponent)), inRange);
}

// Elements i .. i + 7 of stored K or V; of int8 without the scales of their rows.
template <KvType kv>
static inline __m256 loadKv(const std::byte* base, int i) {
  if constexpr (kv == KvType::kF32) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(base) + i);
  } else if constexpr (kv == KvType::kInt8) {
    const __m128i quants = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(base + i));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(quants));
  } else {
    const auto* at = reinterpret_cast<const __m128i*>(base + 2 * i);
    if constexpr (kv == KvType::kF16) return _mm256_cvtph_ps(_mm_loadu_si128(at));
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(at));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
}

// Scales of rows row .. row + 7 of a block of int8 K or V.
static inline __m256 loadKvScales(const std::byte* base, int D, int row) {
  const std::byte* at = base + D * kBlockRows + 2 * row;
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}

}  // namespace baton
