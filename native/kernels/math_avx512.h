// SPDX-License-Identifier: Apache-2.0
// math_avx2.h with 16 lanes. All static: included by instruction-set files only.
#pragma once

#include <immintrin.h>

#include <cstddef>

#include "base/dtype.h"

namespace baton {

// e^x as exp8 in math_avx2.h.
static inline __m512 exp16(__m512 x) {
  const __mmask16 inRange = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.33654f), _CMP_NLT_UQ);
  x = _mm512_min_ps(_mm512_set1_ps(88.37626f), x);
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
  __m512 p = _mm512_set1_ps(1.0f / 5040);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  const __m512i exponent =
      _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23);
  return _mm512_maskz_mul_ps(inRange, p, _mm512_castsi512_ps(exponent));
}

// Elements i .. i + 15 of stored K or V; of int8 without the scales of their rows.
template <KvType kv>
static inline __m512 loadKv(const std::byte* base, int i) {
  if constexpr (kv == KvType::kF32) {
    return _mm512_loadu_ps(reinterpret_cast<const float*>(base) + i);
  } else if constexpr (kv == KvType::kInt8) {
    const __m128i quants = _mm_loadu_si128(reinterpret_cast<const __m128i*>(base + i));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(quants));
  } else {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(base + 2 * i));
    if constexpr (kv == KvType::kF16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
}

// Scales of the rows of a block of int8 K or V.
static inline __m512 loadKvScales(const std::byte* base, int D) {
  const std::byte* at = base + D * kBlockRows;
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
}

}  // namespace baton
