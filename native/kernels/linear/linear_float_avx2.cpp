// SPDX-License-Identifier: Apache-2.0
// float32 arithmetic. Panels: W[n .. n + 16, :] is dequantised and transposed into [K, 16] once,
// then tiles of six rows of x run over it; each y is one FMA chain in ascending k. Rows: dot
// products along k in 8 lanes, W read once.
#include "kernels/linear/panels_avx2.h"
#include "kernels/linear/parts_avx2.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

template <int rows>
void panelTile(const LinearArgs& a, int r, int n, int columns, const float* panel) {
  __m256 sum[rows][2];
  const float* x[rows];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    x[i] = a.x + static_cast<size_t>(r + i) * static_cast<size_t>(a.K);
    sum[i][0] = sum[i][1] = _mm256_setzero_ps();
  }
  for (int k = 0; k < a.K; ++k) {
    const __m256 w0 = _mm256_load_ps(panel + k * kPanelColumns);
    const __m256 w1 = _mm256_load_ps(panel + k * kPanelColumns + 8);
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      const __m256 xk = _mm256_broadcast_ss(x[i] + k);
      sum[i][0] = _mm256_fmadd_ps(xk, w0, sum[i][0]);
      sum[i][1] = _mm256_fmadd_ps(xk, w1, sum[i][1]);
    }
  }
  // Through memory: a loop that GCC does not unroll would keep the sums there during the loop over
  // k as well.
  alignas(32) float out[rows][kPanelColumns];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    _mm256_store_ps(out[i], sum[i][0]);
    _mm256_store_ps(out[i] + 8, sum[i][1]);
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    float* y = a.y + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n;
    storeColumns(y, _mm256_load_ps(out[i]), _mm256_load_ps(out[i] + 8), columns, a.accumulate);
  }
}

template <DType type>
void panels(const LinearArgs& a, int n0, int n1, float* panel) {
  for (int n = n0; n < n1; n += kPanelColumns) {
    const int columns = n1 - n < kPanelColumns ? n1 - n : kPanelColumns;
    packFloatPanel<type>(a, n, columns, panel);
    int r = 0;
    for (; r + 6 <= a.R; r += 6) panelTile<6>(a, r, n, columns, panel);
    switch (a.R - r) {
      case 5:
        panelTile<5>(a, r, n, columns, panel);
        break;
      case 4:
        panelTile<4>(a, r, n, columns, panel);
        break;
      case 3:
        panelTile<3>(a, r, n, columns, panel);
        break;
      case 2:
        panelTile<2>(a, r, n, columns, panel);
        break;
      case 1:
        panelTile<1>(a, r, n, columns, panel);
        break;
      default:
        break;
    }
  }
}

template <DType type, int rows>
void rowsTile(const LinearArgs& a, int r, int n0, int n1) {
  constexpr int kChains = rows <= 2 ? 4 : 2;
  const size_t stride = rowBytes(type, a.K);
  const float* x = a.x + static_cast<size_t>(r) * static_cast<size_t>(a.K);
  for (int n = n0; n < n1; ++n) {
    const std::byte* w = static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * stride;
    __m256 sum[rows][kChains];
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      BATON_UNROLL
      for (int p = 0; p < kChains; ++p) sum[i][p] = _mm256_setzero_ps();
    }
    int k = 0, g = 0;  // g: group of its block
    for (; k + 32 <= a.K; k += 32) {
      const Group8x4 group = loadGroup<type>(w, g);
      if (++g == blockGroups(type)) {
        g = 0;
        w += blockBytes(type);
      }
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        BATON_UNROLL
        for (int p = 0; p < 4; ++p) {
          const __m256 xk = _mm256_loadu_ps(x + i * a.K + k + 8 * p);
          sum[i][p % kChains] = _mm256_fmadd_ps(group.v[p], xk, sum[i][p % kChains]);
        }
      }
    }
    alignas(32) float tail[32];
    if (k < a.K) {
      const Group8x4 group = loadTail<type>(w, a.K - k);
      BATON_UNROLL
      for (int p = 0; p < 4; ++p) _mm256_store_ps(tail + 8 * p, group.v[p]);
    }
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      if constexpr (kChains == 4) {
        sum[i][0] = _mm256_add_ps(sum[i][0], sum[i][2]);
        sum[i][1] = _mm256_add_ps(sum[i][1], sum[i][3]);
      }
      float dot = sumLanes(_mm256_add_ps(sum[i][0], sum[i][1]));
      for (int j = 0; k + j < a.K; ++j) dot += tail[j] * x[i * a.K + k + j];
      float* y = a.y + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n;
      *y = a.accumulate ? *y + dot : dot;
    }
  }
}

template <DType type>
void rows(const LinearArgs& a, int n0, int n1) {
  int r = 0;
  for (; r + 4 <= a.R; r += 4) rowsTile<type, 4>(a, r, n0, n1);
  switch (a.R - r) {
    case 3:
      rowsTile<type, 3>(a, r, n0, n1);
      break;
    case 2:
      rowsTile<type, 2>(a, r, n0, n1);
      break;
    case 1:
      rowsTile<type, 1>(a, r, n0, n1);
      break;
    default:
      break;
  }
}

}  // namespace

void linearFloatPanelsAvx2(const LinearArgs& a, int n0, int n1, void* scratch) {
  auto* panel = static_cast<float*>(scratch);
  withType(a.type, [&](auto type) { panels<decltype(type)::value>(a, n0, n1, panel); });
}

void linearFloatRowsAvx2(const LinearArgs& a, int n0, int n1) {
  withType(a.type, [&](auto type) { rows<decltype(type)::value>(a, n0, n1); });
}

}  // namespace baton
