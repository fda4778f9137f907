// SPDX-License-Identifier: Apache-2.0
// Blocks of a panel (panels.h) with AVX2: quants as bytes, scales and offsets as float32. AVX-512
// includes it, too. All static: included by instruction-set files only.
#pragma once

#include "kernels/linear/panels.h"
#include "kernels/linear/quants_avx2.h"
#include "kernels/unroll.h"

namespace baton {

// Vector v of a plane, its bits moved up by `up`.
template <int bits, int up>
static inline __m256i loadPlane(const std::byte* plane, int v) {
  constexpr int kEach = 8 / bits;
  const auto* at = reinterpret_cast<const __m256i*>(plane) + v / kEach;
  if constexpr (bits == 8) return _mm256_load_si256(at);
  return movedBits(_mm256_load_si256(at), up - bits * (v % kEach), ((1 << bits) - 1) << up);
}

// Vector v of a group; of Q6_K around zero.
template <DType type>
static inline __m256i loadVector(const std::byte* group, int v) {
  constexpr Planes kPlanes = planesOf(type);
  __m256i quants = loadPlane<kPlanes.low, 0>(group, v);
  if constexpr (kPlanes.high > 0) {
    const std::byte* above = group + planeBytes(kPlanes.low);
    quants = _mm256_or_si256(quants, loadPlane<kPlanes.high, kPlanes.low>(above, v));
  }
  if constexpr (type == DType::kQ6_K) quants = _mm256_sub_epi8(quants, _mm256_set1_epi8(32));
  return quants;
}

static inline __m256 halvesToFloat(const std::byte* at) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(at)));
}

static inline __m256 bytesToFloat(const std::byte* at) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}

// Scales d and offsets c [groups][16] of a block. Of Q6_K the scale of the block in each group, and
// `sections` [16][16]: those of its sections, twice as int16; c is not written where it is 0.
template <DType type>
static inline void unpackScales(const std::byte* block, float* d, float* c, int32_t* sections) {
  constexpr int kGroups = blockGroups(type);
  BATON_UNROLL
  for (int half = 0; half < kPanelColumns; half += 8) {
    const __m256 scale = halvesToFloat(block + 2 * half);
    const std::byte* const second = block + 2 * kPanelColumns + 2 * half;
    if constexpr (kGroups == 1) {
      _mm256_store_ps(d + half, scale);
      if constexpr (storesOffset(type)) {
        _mm256_store_ps(c + half, halvesToFloat(second));
      } else if constexpr (!isSigned(type)) {
        _mm256_store_ps(c + half, _mm256_mul_ps(scale, _mm256_set1_ps(-centre(type))));
      }
    } else if constexpr (type == DType::kQ6_K) {
      for (int g = 0; g < kGroups; ++g) _mm256_store_ps(d + g * kPanelColumns + half, scale);
    } else {
      const __m256 floor = _mm256_sub_ps(_mm256_setzero_ps(), halvesToFloat(second));
      const std::byte* at = block + 4 * kPanelColumns + half;
      for (int g = 0; g < kGroups; ++g, at += 2 * kPanelColumns) {
        const int to = g * kPanelColumns + half;
        _mm256_store_ps(d + to, _mm256_mul_ps(scale, bytesToFloat(at)));
        _mm256_store_ps(c + to, _mm256_mul_ps(floor, bytesToFloat(at + kPanelColumns)));
      }
    }
  }
  if constexpr (type == DType::kQ6_K) {
    const auto* at = reinterpret_cast<const __m128i*>(block + 2 * kPanelColumns);
    for (int s = 0; s < 16; ++s) {
      const __m256i words = _mm256_cvtepi8_epi16(_mm_load_si128(at + s));  // of 16 columns
      const __m256i low = _mm256_permute4x64_epi64(words, 0x50),
                    high = _mm256_permute4x64_epi64(words, 0xfa);
      auto* out = reinterpret_cast<__m256i*>(sections + s * kPanelColumns);
      _mm256_store_si256(out, _mm256_unpacklo_epi16(low, low));
      _mm256_store_si256(out + 1, _mm256_unpacklo_epi16(high, high));
    }
  }
}

}  // namespace baton
