// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic. Every group's dot product is an exact integer; the float sum runs over groups in
// ascending k.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds pairs in 16 bits with saturation, so the
// pairs must fit:
//   4-bit weights: 2 * 15 * 127 = 3810, and the eight steps of a group sum to 30480: one 16-bit sum
//   a group. Q8_0: |w| is the unsigned side and x takes w's sign, 2 * 128 * 127 = 32512: widened to
//   32 bits at each step. This is the signed dot product, for which the offset c is 0.
#include "kernels/linear/panels_avx2.h"
#include "kernels/linear/parts_avx2.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

// Panel of 16 columns: quants [K / 4][16][4], and scales and offsets [K / 32][16]. Q8_0 holds two
// such quants side by side: the signed bytes of 16 columns, then their magnitudes.
struct Panel {
  int8_t* q;
  float* d;
  float* c;
};

template <DType type>
constexpr int stepBytes() {  // panel bytes of four k
  return type == DType::kQ8_0 ? 128 : 64;
}

template <DType type>
void packPanel(const LinearArgs& a, int n, int columns, const Panel& panel) {
  const size_t rowBytes = groupBytes<type>() * static_cast<size_t>(a.K / kGroup);
  const auto* w = static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * rowBytes;
  const std::byte* at[kPanelColumns];
  for (int c = 0; c < kPanelColumns; ++c) {
    // Columns past the end repeat the last one; their result is not stored.
    at[c] = w + static_cast<size_t>(c < columns ? c : columns - 1) * rowBytes;
  }
  int8_t* q = panel.q;
  for (int g = 0; g < a.K / kGroup; ++g, q += 8 * stepBytes<type>()) {
    packScales<type>(at, panel.d + g * kPanelColumns, panel.c + g * kPanelColumns);
    BATON_UNROLL
    for (int half = 0; half < 2; ++half) {
      __m256 rows[8];
      BATON_UNROLL
      for (int c = 0; c < 8; ++c) {
        rows[c] = _mm256_castsi256_ps(loadQuants<type>(at[half * 8 + c]));
      }
      transpose8x8(rows);
      BATON_UNROLL
      for (int step = 0; step < 8; ++step) {
        const __m256i quants = _mm256_castps_si256(rows[step]);
        auto* out = reinterpret_cast<__m256i*>(q + step * stepBytes<type>()) + half;
        _mm256_store_si256(out, quants);
        if constexpr (type == DType::kQ8_0) _mm256_store_si256(out + 2, _mm256_abs_epi8(quants));
      }
    }
    for (int c = 0; c < kPanelColumns; ++c) at[c] += groupBytes<type>();
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

// dot[i][h]: exact dot products of one group, rows r + i of x with columns 8 h .. 8 h + 7 of the
// panel.
template <DType type, int rows>
inline void groupDots(const int8_t* q, const int8_t* const* x, int k, __m256i (*dot)[2]) {
  const __m256i ones = _mm256_set1_epi16(1);
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) dot[i][0] = dot[i][1] = _mm256_setzero_si256();
  BATON_UNROLL
  for (int step = 0; step < 8; ++step) {
    const auto* w = reinterpret_cast<const __m256i*>(q + step * stepBytes<type>());
    const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      const __m256i xk = broadcastQuad(x[i] + k + 4 * step);
      if constexpr (type == DType::kQ8_0) {
        const __m256i p0 = _mm256_maddubs_epi16(_mm256_load_si256(w + 2), _mm256_sign_epi8(xk, w0));
        const __m256i p1 = _mm256_maddubs_epi16(_mm256_load_si256(w + 3), _mm256_sign_epi8(xk, w1));
        dot[i][0] = _mm256_add_epi32(dot[i][0], _mm256_madd_epi16(p0, ones));
        dot[i][1] = _mm256_add_epi32(dot[i][1], _mm256_madd_epi16(p1, ones));
        inOrder(dot[i][0]);
        inOrder(dot[i][1]);
      } else {
        dot[i][0] = _mm256_add_epi16(dot[i][0], _mm256_maddubs_epi16(w0, xk));
        dot[i][1] = _mm256_add_epi16(dot[i][1], _mm256_maddubs_epi16(w1, xk));
        inOrder(dot[i][0]);
        inOrder(dot[i][1]);
      }
    }
  }
  if constexpr (type != DType::kQ8_0) {
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      dot[i][0] = _mm256_madd_epi16(dot[i][0], ones);
      dot[i][1] = _mm256_madd_epi16(dot[i][1], ones);
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
    groupDots<type, rows>(panel.q + g * 8 * stepBytes<type>(), x, g * kGroup, dot);
    BATON_UNROLL
    for (int h = 0; h < 2; ++h) {
      const __m256 d = _mm256_load_ps(panel.d + g * kPanelColumns + 8 * h);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m256 scale = _mm256_mul_ps(d, _mm256_broadcast_ss(xd[i] + g));
        __m256 total = _mm256_load_ps(sum[i] + 8 * h);
        total = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(dot[i][h]), total);
        if constexpr (type != DType::kQ8_0) {
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
  auto* const d = reinterpret_cast<float*>(static_cast<std::byte*>(scratch) + quants);
  const Panel panel{static_cast<int8_t*>(scratch), d, d + a.K / kGroup * kPanelColumns};
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
      break;  // other types have no int8 form: linear.h
  }
}

}  // namespace baton
