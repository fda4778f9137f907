// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic on panels. Every dot product is an exact integer; the float sum runs over groups
// in ascending k.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds pairs in 16 bits with saturation, so the
// pairs must fit, and as many sums of them as kSums says:
//   4-bit weights: 2 * 15 * 127 = 3810, and the eight steps of a group sum to 30480: one 16-bit sum
//   a group.
//   5-bit weights: 2 * 31 * 127 = 7874, four steps 31496: two sums a group.
//   Q6_K: |w| <= 32 is the unsigned side and x takes w's sign, 2 * 32 * 127 = 8128, four steps
//   32512: a sum for each section, which then meets the section's scale.
//   Q8_0: likewise with |w| <= 128, 32512 in one step: widened to 32 bits at each.
// The last two are signed dot products, for which the offset c is 0.
#include "kernels/linear/panels_avx2.h"
#include "kernels/linear/parts_avx2.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

// Panel of 16 columns: quants [K / 4][16][4], scales and offsets [K / 32][16], and for Q6_K the
// scales of sections [K / 16][16] as pairs of int16. Signed types hold two such quants side by
// side: the signed bytes of 16 columns, then their magnitudes.
struct Panel {
  int8_t* q;
  float* d;
  float* c;
  int32_t* sections;
};

template <DType type>
constexpr int stepBytes() {  // panel bytes of four k
  return isSigned(type) ? 128 : 64;
}

// Steps of four k whose products fit one 16-bit sum.
template <DType type>
constexpr int stepsOfSum() {
  switch (type) {
    case DType::kQ8_0:
      return 1;
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ4_K:
      return 8;
    default:
      return 4;
  }
}

// Q4_K and Q5_K: scales and offsets of one block of 16 columns, for its eight groups.
inline void packBlockScales(const std::byte* const* at, float* d, float* c) {
  for (int half = 0; half < kPanelColumns; half += 8) {
    __m256 scales[8], offsets[8];  // by column, then by group
    for (int i = 0; i < 8; ++i) loadBlockScales(at[half + i], &scales[i], &offsets[i]);
    transpose8x8(scales);
    transpose8x8(offsets);
    for (int g = 0; g < 8; ++g) {
      _mm256_store_ps(d + g * kPanelColumns + half, scales[g]);
      _mm256_store_ps(c + g * kPanelColumns + half, offsets[g]);
    }
  }
}

// Q6_K: the scale of one block of 16 columns, once for each group, and the scales of its sections.
inline void packSectionScales(const std::byte* const* at, float* d, int32_t* sections) {
  for (int i = 0; i < kPanelColumns; ++i) {
    const auto* block = reinterpret_cast<const BlockQ6_K*>(at[i]);
    const float scale = scaleOf(at[i] + offsetof(BlockQ6_K, d));
    for (int g = 0; g < 8; ++g) d[g * kPanelColumns + i] = scale;
    for (int s = 0; s < 16; ++s) {
      sections[s * kPanelColumns + i] = (block->scales[s] & 0xffff) | block->scales[s] * 0x10000;
    }
  }
}

template <DType type>
void packPanel(const LinearArgs& a, int n, int columns, const Panel& panel) {
  constexpr int kGroups = blockGroups(type);
  const size_t stride = rowBytes(type, a.K);
  const auto* w = static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * stride;
  const std::byte* at[kPanelColumns];
  for (int c = 0; c < kPanelColumns; ++c) {
    // Columns past the end repeat the last one; their result is not stored.
    at[c] = w + static_cast<size_t>(c < columns ? c : columns - 1) * stride;
  }
  int8_t* q = panel.q;
  for (int g0 = 0; g0 < a.K / kGroup; g0 += kGroups) {
    float* const d = panel.d + g0 * kPanelColumns;
    float* const offset = panel.c + g0 * kPanelColumns;
    if constexpr (type == DType::kQ6_K) {
      packSectionScales(at, d, panel.sections + 2 * g0 * kPanelColumns);
    } else if constexpr (kGroups > 1) {
      packBlockScales(at, d, offset);
    } else {
      packScales<type>(at, d, offset);
    }
    BATON_UNROLL
    for (int g = 0; g < kGroups; ++g, q += 8 * stepBytes<type>()) {
      BATON_UNROLL
      for (int half = 0; half < 2; ++half) {
        __m256 rows[8];
        BATON_UNROLL
        for (int c = 0; c < 8; ++c) {
          rows[c] = _mm256_castsi256_ps(loadQuants<type>(at[half * 8 + c], g));
        }
        transpose8x8(rows);
        BATON_UNROLL
        for (int step = 0; step < 8; ++step) {
          const __m256i quants = _mm256_castps_si256(rows[step]);
          auto* out = reinterpret_cast<__m256i*>(q + step * stepBytes<type>()) + half;
          _mm256_store_si256(out, quants);
          if constexpr (isSigned(type)) _mm256_store_si256(out + 2, _mm256_abs_epi8(quants));
        }
      }
    }
    for (int c = 0; c < kPanelColumns; ++c) at[c] += blockBytes(type);
  }
}

inline __m256i broadcastQuad(const int8_t* x) {
  int32_t quad;
  std::memcpy(&quad, x, 4);
  return _mm256_set1_epi32(quad);
}

// Keeps one running sum in its register. GCC would turn the eight sums of a group into a tree and
// spill every product.
inline void inOrder(__m256i& sum) {
  asm("" : "+x"(sum));
}

// Products of four k of one row with eight columns, in 16-bit pairs. w: as a panel holds them.
template <DType type>
inline __m256i products(const __m256i* w, __m256i quants, __m256i xk) {
  return isSigned(type)
             ? _mm256_maddubs_epi16(_mm256_load_si256(w + 2), _mm256_sign_epi8(xk, quants))
             : _mm256_maddubs_epi16(quants, xk);
}

// dot[i][h]: exact dot products of group g, rows r + i of x with columns 8 h .. 8 h + 7 of the
// panel.
template <DType type, int rows>
inline void groupDots(const Panel& panel, int g, const int8_t* const* x, __m256i (*dot)[2]) {
  constexpr int kSteps = stepsOfSum<type>();
  const int8_t* q = panel.q + g * 8 * stepBytes<type>();
  const int k = g * kGroup;
  __m256i factors[2] = {_mm256_set1_epi16(1), _mm256_set1_epi16(1)};
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) dot[i][0] = dot[i][1] = _mm256_setzero_si256();
  BATON_UNROLL
  for (int first = 0; first < 8; first += kSteps) {
    __m256i sum[rows][2];  // of 16-bit pairs
    BATON_UNROLL
    for (int step = first; step < first + kSteps; ++step) {
      const auto* w = reinterpret_cast<const __m256i*>(q + step * stepBytes<type>());
      const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m256i xk = broadcastQuad(x[i] + k + 4 * step);
        const __m256i p0 = products<type>(w, w0, xk), p1 = products<type>(w + 1, w1, xk);
        if constexpr (kSteps == 1) {
          dot[i][0] = _mm256_add_epi32(dot[i][0], _mm256_madd_epi16(p0, factors[0]));
          dot[i][1] = _mm256_add_epi32(dot[i][1], _mm256_madd_epi16(p1, factors[1]));
          inOrder(dot[i][0]);
          inOrder(dot[i][1]);
        } else {
          sum[i][0] = step == first ? p0 : _mm256_add_epi16(sum[i][0], p0);
          sum[i][1] = step == first ? p1 : _mm256_add_epi16(sum[i][1], p1);
          inOrder(sum[i][0]);
          inOrder(sum[i][1]);
        }
      }
    }
    if constexpr (kSteps > 1) {
      if constexpr (type == DType::kQ6_K) {
        const int32_t* scales = panel.sections + (2 * g + first / 4) * kPanelColumns;
        factors[0] = _mm256_load_si256(reinterpret_cast<const __m256i*>(scales));
        factors[1] = _mm256_load_si256(reinterpret_cast<const __m256i*>(scales) + 1);
      }
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        dot[i][0] = _mm256_add_epi32(dot[i][0], _mm256_madd_epi16(sum[i][0], factors[0]));
        dot[i][1] = _mm256_add_epi32(dot[i][1], _mm256_madd_epi16(sum[i][1], factors[1]));
      }
    }
  }
}

template <DType type, int rows>
void panelTile(const LinearArgs& a, int r, int n, int columns, const Panel& panel) {
  const int groups = a.K / kGroup;
  const int8_t* x[rows];
  const float* xd[rows];
  const float* xs[rows];
  // The float sums live in memory, the registers are for the dot products.
  alignas(32) float sum[rows][kPanelColumns];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    const auto row = static_cast<size_t>(r + i);
    x[i] = a.xq + row * static_cast<size_t>(a.K);
    xd[i] = a.xd + row * static_cast<size_t>(groups);
    xs[i] = a.xs + row * static_cast<size_t>(groups);
    _mm256_store_ps(sum[i], _mm256_setzero_ps());
    _mm256_store_ps(sum[i] + 8, _mm256_setzero_ps());
  }
  for (int g = 0; g < groups; ++g) {
    asm volatile("" : : "r"(&sum[0][0]) : "memory");
    __m256i dot[rows][2];
    groupDots<type, rows>(panel, g, x, dot);
    BATON_UNROLL
    for (int h = 0; h < 2; ++h) {
      const __m256 d = _mm256_load_ps(panel.d + g * kPanelColumns + 8 * h);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m256 scale = _mm256_mul_ps(d, _mm256_broadcast_ss(xd[i] + g));
        __m256 total = _mm256_load_ps(sum[i] + 8 * h);
        total = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(dot[i][h]), total);
        if constexpr (!isSigned(type)) {
          const __m256 c = _mm256_load_ps(panel.c + g * kPanelColumns + 8 * h);
          total = _mm256_fmadd_ps(c, _mm256_broadcast_ss(xs[i] + g), total);
        }
        _mm256_store_ps(sum[i] + 8 * h, total);
      }
    }
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    float* y = a.y + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n;
    storeColumns(y, _mm256_load_ps(sum[i]), _mm256_load_ps(sum[i] + 8), columns, a.accumulate);
  }
}

template <DType type>
void panels(const LinearArgs& a, int n0, int n1, void* scratch) {
  const size_t quants = static_cast<size_t>(a.K / 4) * stepBytes<type>();
  const int scales = a.K / kGroup * kPanelColumns;
  auto* const d = reinterpret_cast<float*>(static_cast<std::byte*>(scratch) + quants);
  const Panel panel{static_cast<int8_t*>(scratch), d, d + scales,
                    reinterpret_cast<int32_t*>(d + 2 * scales)};
  for (int n = n0; n < n1; n += kPanelColumns) {
    const int columns = n1 - n < kPanelColumns ? n1 - n : kPanelColumns;
    packPanel<type>(a, n, columns, panel);
    int r = 0;
    for (; r + 4 <= a.R; r += 4) panelTile<type, 4>(a, r, n, columns, panel);
    switch (a.R - r) {
      case 3:
        panelTile<type, 3>(a, r, n, columns, panel);
        break;
      case 2:
        panelTile<type, 2>(a, r, n, columns, panel);
        break;
      case 1:
        panelTile<type, 1>(a, r, n, columns, panel);
        break;
      default:
        break;
    }
  }
}

}  // namespace

void linearInt8PanelsAvx2(const LinearArgs& a, int n0, int n1, void* scratch) {
  withType(a.type, [&](auto type) {
    constexpr DType kType = decltype(type)::value;
    if constexpr (isInteger(kType)) panels<kType>(a, n0, n1, scratch);  // others: linear.h
  });
}

}  // namespace baton
