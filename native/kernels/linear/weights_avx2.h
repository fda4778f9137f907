// SPDX-License-Identifier: Apache-2.0
// Reading weights of every file format with AVX2, 32 consecutive elements (a group) at a time: as
// float32, dequantised exactly, or as integers (quants_avx2.h). All static: included by
// instruction-set files only.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstring>

#include "base/dtype.h"
#include "kernels/lanes_avx2.h"
#include "kernels/linear/quants_avx2.h"

namespace baton {

struct Group8x4 {
  __m256 v[4];  // elements 0-7, 8-15, 16-23, 24-31
};

static inline void widenBytes(__m128i bytes, __m256* out) {
  out[0] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  out[1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)));
}

// Group g of a block.
template <DType type>
static inline Group8x4 loadGroup(const std::byte* block, int g) {
  Group8x4 out;
  if constexpr (type == DType::kF32) {
    const auto* p = reinterpret_cast<const float*>(block);
    for (int i = 0; i < 4; ++i) out.v[i] = _mm256_loadu_ps(p + 8 * i);
  } else if constexpr (type == DType::kF16 || type == DType::kBF16) {
    for (int i = 0; i < 4; ++i) {
      const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block) + i);
      out.v[i] = type == DType::kF16
                     ? _mm256_cvtph_ps(half)
                     : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    }
  } else {
    const __m256i q = loadQuants<type>(block, g);
    widenBytes(_mm256_castsi256_si128(q), out.v);
    widenBytes(_mm256_extracti128_si256(q, 1), out.v + 2);
    const GroupScales scales = loadGroupScales<type>(block, g);
    for (int i = 0; i < 4; ++i) {
      const __m256 d = _mm256_set1_ps(scales.d[i / 2]);
      // d * q is exact in float32 (quant/blockwise.h), so the fused form rounds as the separate one
      // does.
      out.v[i] = _mm256_fmadd_ps(out.v[i], d, _mm256_set1_ps(scales.c));
    }
  }
  return out;
}

// The first `count` < 32 elements of an incomplete group, zeros after them. Only float formats have
// such groups.
template <DType type>
static inline Group8x4 loadTail(const std::byte* at, int count) {
  alignas(32) std::byte padded[128] = {};
  if constexpr (!isInteger(type)) {
    std::memcpy(padded, at, static_cast<size_t>(count) * (blockBytes(type) / 32));
    return loadGroup<type>(padded, 0);
  } else {
    return {};
  }
}

// Stores 16 columns of one row of y, or the first `columns` of them.
static inline void storeColumns(float* y, __m256 low, __m256 high, int columns, bool accumulate) {
  if (columns == 16) {
    if (accumulate) {
      low = _mm256_add_ps(_mm256_loadu_ps(y), low);
      high = _mm256_add_ps(_mm256_loadu_ps(y + 8), high);
    }
    _mm256_storeu_ps(y, low);
    _mm256_storeu_ps(y + 8, high);
    return;
  }
  alignas(32) float values[16];
  _mm256_store_ps(values, low);
  _mm256_store_ps(values + 8, high);
  for (int c = 0; c < columns; ++c) y[c] = accumulate ? y[c] + values[c] : values[c];
}

}  // namespace baton
