// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic on panels of 32 columns with vpdpbusd: four unsigned quants times four signed
// activations into each 32-bit lane, exact. Q8_0 is read as s + 128 with offset -128 d. The float
// sum runs over groups in ascending k.
#include "kernels/linear/panels_avx2.h"
#include "kernels/linear/parts_avx512.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

// `halves` times 16 columns: quants [K / 4][halves * 16][4], scales and offsets [K / 32][halves *
// 16].
struct Panel {
  uint8_t* q;
  float* d;
  float* c;
};

template <DType type, int halves>
void packPanel(const LinearArgs& a, int n, int columns, const Panel& panel) {
  constexpr int kColumns = halves * kPanelColumns;
  const size_t stride = rowBytes(type, a.K);
  const auto* w = static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * stride;
  const std::byte* at[kColumns];
  for (int c = 0; c < kColumns; ++c) {
    // Columns past the end repeat the last one; their result is not stored.
    at[c] = w + static_cast<size_t>(c < columns ? c : columns - 1) * stride;
  }
  uint8_t* q = panel.q;
  for (int g = 0; g < a.K / kGroup; ++g, q += 32 * kColumns) {
    float* const d = panel.d + g * kColumns;
    float* const offset = panel.c + g * kColumns;
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      const int first = h * kPanelColumns;
      packScales<type>(at + first, d + first, offset + first);
      if constexpr (type == DType::kQ8_0) {
        const __m512 scale = _mm512_load_ps(d + first);
        _mm512_store_ps(offset + first, _mm512_mul_ps(scale, _mm512_set1_ps(-128.0f)));
      }
    }
    for (int eight = 0; eight < kColumns; eight += 8) {
      __m256 rows[8];
      BATON_UNROLL
      for (int c = 0; c < 8; ++c) {
        __m256i quants = loadQuants<type>(at[eight + c], 0);
        if constexpr (type == DType::kQ8_0) {
          quants = _mm256_xor_si256(quants, _mm256_set1_epi8(static_cast<char>(0x80)));
        }
        rows[c] = _mm256_castsi256_ps(quants);
      }
      transpose8x8(rows);
      BATON_UNROLL
      for (int step = 0; step < 8; ++step) {
        _mm256_store_ps(reinterpret_cast<float*>(q + step * 4 * kColumns + 4 * eight), rows[step]);
      }
    }
    for (int c = 0; c < kColumns; ++c) at[c] += blockBytes(type);
  }
}

inline __m512i broadcastQuad(const int8_t* x) {
  int32_t quad;
  std::memcpy(&quad, x, 4);
  return _mm512_set1_epi32(quad);
}

template <int rows, int halves>
void panelTile(const LinearArgs& a, int r, int n, int columns, const Panel& panel) {
  constexpr int kColumns = halves * kPanelColumns;
  const int groups = a.K / kGroup;
  const int8_t* x = a.xq + static_cast<size_t>(r) * static_cast<size_t>(a.K);
  const float* xd = a.xd + static_cast<size_t>(r) * static_cast<size_t>(groups);
  const float* xs = a.xs + static_cast<size_t>(r) * static_cast<size_t>(groups);
  __m512 sum[rows][halves];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) sum[i][h] = _mm512_setzero_ps();
  }
  for (int g = 0; g < groups; ++g) {
    __m512i dot[rows][halves];
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      BATON_UNROLL
      for (int h = 0; h < halves; ++h) dot[i][h] = _mm512_setzero_si512();
    }
    const uint8_t* q = panel.q + g * 32 * kColumns;
    BATON_UNROLL
    for (int step = 0; step < 8; ++step) {
      __m512i w[halves];
      BATON_UNROLL
      for (int h = 0; h < halves; ++h) w[h] = _mm512_load_si512(q + step * 4 * kColumns + 64 * h);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m512i xk = broadcastQuad(x + i * a.K + g * kGroup + 4 * step);
        BATON_UNROLL
        for (int h = 0; h < halves; ++h) dot[i][h] = _mm512_dpbusd_epi32(dot[i][h], w[h], xk);
      }
    }
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      const __m512 d = _mm512_load_ps(panel.d + g * kColumns + h * kPanelColumns);
      const __m512 c = _mm512_load_ps(panel.c + g * kColumns + h * kPanelColumns);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(xd[i * groups + g]));
        sum[i][h] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot[i][h]), sum[i][h]);
        sum[i][h] = _mm512_fmadd_ps(c, _mm512_set1_ps(xs[i * groups + g]), sum[i][h]);
      }
    }
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      const int left = columns - h * kPanelColumns;
      const int stored = left < kPanelColumns ? left : kPanelColumns;
      const __mmask16 mask = static_cast<__mmask16>((1u << stored) - 1);
      float* y =
          a.y + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n + h * kPanelColumns;
      __m512 value = sum[i][h];
      if (a.accumulate) value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), value);
      _mm512_mask_storeu_ps(y, mask, value);
    }
  }
}

template <DType type, int halves>
void panelColumns(const LinearArgs& a, int n, int columns, void* scratch) {
  constexpr int kColumns = halves * kPanelColumns;
  auto* const q = static_cast<uint8_t*>(scratch);
  auto* const d = reinterpret_cast<float*>(q + static_cast<size_t>(a.K) * kColumns);
  const Panel panel{q, d, d + a.K / kGroup * kColumns};
  packPanel<type, halves>(a, n, columns, panel);
  int r = 0;
  for (; r + 6 <= a.R; r += 6) panelTile<6, halves>(a, r, n, columns, panel);
  switch (a.R - r) {
    case 5:
      panelTile<5, halves>(a, r, n, columns, panel);
      break;
    case 4:
      panelTile<4, halves>(a, r, n, columns, panel);
      break;
    case 3:
      panelTile<3, halves>(a, r, n, columns, panel);
      break;
    case 2:
      panelTile<2, halves>(a, r, n, columns, panel);
      break;
    case 1:
      panelTile<1, halves>(a, r, n, columns, panel);
      break;
    default:
      break;
  }
}

template <DType type>
void panels(const LinearArgs& a, int n0, int n1, void* scratch) {
  for (int n = n0; n < n1; n += 2 * kPanelColumns) {
    const int columns = n1 - n;
    if (columns > kPanelColumns) {
      panelColumns<type, 2>(a, n, columns < 32 ? columns : 32, scratch);
    } else {
      panelColumns<type, 1>(a, n, columns, scratch);
    }
  }
}

}  // namespace

void linearInt8PanelsAvx512(const LinearArgs& a, int n0, int n1, void* scratch) {
  switch (a.type) {
    case DType::kQ8_0:
      panels<DType::kQ8_0>(a, n0, n1, scratch);
      break;
    case DType::kQ4_0:
      panels<DType::kQ4_0>(a, n0, n1, scratch);
      break;
    case DType::kQ4_1:
      panels<DType::kQ4_1>(a, n0, n1, scratch);
      break;
    default:
      break;  // linear_avx512.cpp gives the others to AVX2
  }
}

}  // namespace baton
