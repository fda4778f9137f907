// SPDX-License-Identifier: Apache-2.0
// float32 panels of 16 columns, shared by AVX2 and AVX-512: the work is loads and 8x8 transposes,
// done once per panel.
#pragma once

#include "kernels/linear/linear.h"
#include "kernels/linear/panels.h"
#include "kernels/linear/weights_avx2.h"

namespace baton {
namespace {

// W[n .. n + 16, :] dequantised into panel [K, 16].
template <DType type>
void packFloatPanel(const LinearArgs& a, int n, int columns, float* panel) {
  const size_t stride = rowBytes(type, a.K);
  const auto* w = static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * stride;
  for (int k = 0; k < a.K; k += 32) {
    const int depth = a.K - k < 32 ? a.K - k : 32;
    const int g = k / 32 % blockGroups(type);
    const size_t block = blockBytes(type) * static_cast<size_t>(k / 32 / blockGroups(type));
    for (int half = 0; half < kPanelColumns; half += 8) {
      Group8x4 group[8];
      for (int c = 0; c < 8; ++c) {
        // Columns past the end repeat the last one: finite work whose result is not stored.
        const int column = half + c < columns ? half + c : columns - 1;
        const std::byte* at = w + static_cast<size_t>(column) * stride + block;
        group[c] = depth == 32 ? loadGroup<type>(at, g) : loadTail<type>(at, depth);
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

}  // namespace
}  // namespace baton
