// SPDX-License-Identifier: Apache-2.0
// Across the lanes of AVX2 registers: sums, maxima, transposition, masks for ragged ends. All
// static: included by instruction-set files only.
#pragma once

#include <immintrin.h>

namespace baton {

static inline float sumLanes(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

// rows[i] lane j <-> rows[j] lane i.
static inline void transpose8x8(__m256* rows) {
  __m256 pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int h = 0; h < 2; ++h) {
      quads[i + 2 * h] = _mm256_shuffle_ps(pairs[i + h], pairs[i + h + 2], 0x44);
      quads[i + 2 * h + 1] = _mm256_shuffle_ps(pairs[i + h], pairs[i + h + 2], 0xee);
    }
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
  }
}

static inline float largestLane(__m256 v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

// The first `count` of eight lanes.
static inline __m256i tailMask(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// The first min(count, 8) elements, zeros after them. Whole registers are not masked: masked stores
// take Zen 3 ten times as long.
static inline __m256 loadFirst(const float* at, int count) {
  return count >= 8 ? _mm256_loadu_ps(at) : _mm256_maskload_ps(at, tailMask(count));
}

static inline void storeFirst(float* at, __m256 value, int count) {
  if (count >= 8) {
    _mm256_storeu_ps(at, value);
  } else {
    _mm256_maskstore_ps(at, tailMask(count), value);
  }
}

}  // namespace baton
