// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic on panels of 32 columns with vpdpbusd: four unsigned quants times four signed
// activations into each 32-bit lane, exact. Q8_0 is read as s + 128 with offset -128 d. The float
// sum runs over groups in ascending k.
#include "kernels/linear/parts_avx512.h"
#include "kernels/linear/unpack_avx2.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

// A panel (panels.h) in bytes: quants [K / 4][16][4], scales and offsets [K / 32][16].
struct Panel {
  uint8_t* q;
  float* d;
  float* c;
};

template <DType type>
void unpackPanel(const std::byte* packed, int K, const Panel& panel) {
  constexpr int kGroups = blockGroups(type);
  uint8_t* q = panel.q;
  for (int g0 = 0; g0 < K / kGroup; g0 += kGroups, packed += panelBlockBytes(type)) {
    float* const d = panel.d + g0 * kPanelColumns;
    float* const c = panel.c + g0 * kPanelColumns;
    unpackScales<type>(packed, d, c, nullptr);
    if constexpr (type == DType::kQ8_0) {
      _mm512_store_ps(c, _mm512_mul_ps(_mm512_load_ps(d), _mm512_set1_ps(-128.0f)));
    }
    const std::byte* group = packed + panelScaleBytes(type);
    for (int g = 0; g < kGroups; ++g, group += panelGroupBytes(type)) {
      BATON_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) {
        __m256i quants = loadVector<type>(group, v);
        if constexpr (type == DType::kQ8_0) {
          quants = _mm256_xor_si256(quants, _mm256_set1_epi8(static_cast<char>(0x80)));
        }
        _mm256_store_si256(reinterpret_cast<__m256i*>(q) + v, quants);
      }
      q += kPanelVectors * kPanelVectorBytes;
    }
  }
}

inline __m512i broadcastQuad(const int8_t* x) {
  int32_t quad;
  std::memcpy(&quad, x, 4);
  return _mm512_set1_epi32(quad);
}

template <int rows, int halves>
void panelTile(const LinearArgs& a, int r, int n, int columns, const Panel* panels) {
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
    BATON_UNROLL
    for (int step = 0; step < 8; ++step) {
      __m512i w[halves];
      BATON_UNROLL
      for (int h = 0; h < halves; ++h) w[h] = _mm512_load_si512(panels[h].q + 64 * (8 * g + step));
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m512i xk = broadcastQuad(x + i * a.K + g * kGroup + 4 * step);
        BATON_UNROLL
        for (int h = 0; h < halves; ++h) dot[i][h] = _mm512_dpbusd_epi32(dot[i][h], w[h], xk);
      }
    }
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      const __m512 d = _mm512_load_ps(panels[h].d + g * kPanelColumns);
      const __m512 c = _mm512_load_ps(panels[h].c + g * kPanelColumns);
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
  const size_t scales = static_cast<size_t>(a.K / kGroup * kPanelColumns);
  Panel panels[halves];
  auto* at = static_cast<uint8_t*>(scratch);
  for (int h = 0; h < halves; ++h) {
    auto* const d = reinterpret_cast<float*>(at + static_cast<size_t>(a.K) * kPanelColumns);
    panels[h] = {at, d, d + scales};
    at = reinterpret_cast<uint8_t*>(d + 2 * scales);
    const auto index = static_cast<size_t>(n / kPanelColumns + h);
    unpackPanel<type>(a.panels + index * panelBytes(type, a.K), a.K, panels[h]);
  }
  int r = 0;
  for (; r + 6 <= a.R; r += 6) panelTile<6, halves>(a, r, n, columns, panels);
  switch (a.R - r) {
    case 5:
      panelTile<5, halves>(a, r, n, columns, panels);
      break;
    case 4:
      panelTile<4, halves>(a, r, n, columns, panels);
      break;
    case 3:
      panelTile<3, halves>(a, r, n, columns, panels);
      break;
    case 2:
      panelTile<2, halves>(a, r, n, columns, panels);
      break;
    case 1:
      panelTile<1, halves>(a, r, n, columns, panels);
      break;
    default:
      break;
  }
}

template <DType type>
void allColumns(const LinearArgs& a, int n0, int n1, void* scratch) {
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
  withType(a.type, [&](auto type) {
    constexpr DType kType = decltype(type)::value;
    // linear_avx512.cpp gives Q6_K, whose sections have scales of their own, to AVX2.
    if constexpr (isInteger(kType) && kType != DType::kQ6_K) allColumns<kType>(a, n0, n1, scratch);
  });
}

}  // namespace baton
