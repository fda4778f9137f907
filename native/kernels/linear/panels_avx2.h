// SPDX-License-Identifier: Apache-2.0
// Packing of 16-column panels, shared by AVX2 and AVX-512: the work is loads and 8x8 transposes,
// done once per panel.
#pragma once

#include "kernels/linear/linear.h"
#include "kernels/linear/weights_avx2.h"

namespace baton {
namespace {

constexpr int kPanelColumns = 16;

// W[n .. n + 16, :] dequantised into panel [K, 16].
template <DType type>
void packFloatPanel(const LinearArgs& a, int n, int columns, float* panel) {
  const size_t rowBytes = groupBytes<type>() * static_cast<size_t>(a.K) / 32;
  const auto* w = static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * rowBytes;
  for (int k = 0; k < a.K; k += 32) {
    const int depth = a.K - k < 32 ? a.K - k : 32;
    for (int half = 0; half < kPanelColumns; half += 8) {
      Group8x4 group[8];
      for (int c = 0; c < 8; ++c) {
        // Columns past the end repeat the last one: finite work whose result is not stored.
        const int column = half + c < columns ? half + c : columns - 1;
        const std::byte* at = w + static_cast<size_t>(column) * rowBytes +
                              groupBytes<type>() * static_cast<size_t>(k / 32);
        group[c] = depth == 32 ? loadGroup<type>(at) : loadTail<type>(at, depth);
      }
      for (int part = 0; part < 4 && part * 8 < depth; ++part) {
        __m256 rows[8];
        for (int c = 0; c < 8; ++c) rows[c] = group[c].v[part];
        transpose8x8(rows);
        for (int i = 0; i < 8 && part * 8 + i < depth; ++i) {
          _mm256_store_ps(panel + (k + part * 8 + i) * kPanelColumns + half, rows[i]);
        }
      }
    }
  }
}

// The 32 quants of one group in bytes: signed for Q8_0, 0 .. 15 for the 4-bit types.
template <DType type>
inline __m256i loadQuants(const std::byte* at) {
  if constexpr (type == DType::kQ8_0) {
    const auto* block = reinterpret_cast<const BlockQ8_0*>(at);
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block->q));
  } else {
    const auto* q = at + groupBytes<type>() - 16;
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q));
    const __m256i both = _mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
  }
}

// Scales and offsets of one group of 16 columns.
template <DType type>
inline void packScales(const std::byte* const* at, float* d, float* c) {
  alignas(16) uint16_t halves[2][kPanelColumns];
  for (int i = 0; i < kPanelColumns; ++i) {
    std::memcpy(&halves[0][i], at[i], 2);
    if constexpr (type == DType::kQ4_1) std::memcpy(&halves[1][i], at[i] + 2, 2);
  }
  for (int i = 0; i < kPanelColumns; i += 8) {
    const __m256 scale = _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<__m128i*>(&halves[0][i])));
    _mm256_store_ps(d + i, scale);
    if constexpr (type == DType::kQ4_1) {
      const __m128i offset = _mm_load_si128(reinterpret_cast<__m128i*>(&halves[1][i]));
      _mm256_store_ps(c + i, _mm256_cvtph_ps(offset));
    } else if constexpr (type == DType::kQ4_0) {
      _mm256_store_ps(c + i, _mm256_mul_ps(scale, _mm256_set1_ps(-8.0f)));
    }
  }
}

}  // namespace
}  // namespace baton
