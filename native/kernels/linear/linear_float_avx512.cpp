// SPDX-License-Identifier: Apache-2.0
// float32 arithmetic on panels: W[n .. n + 16, :] is dequantised and transposed into [K, 16] once,
// then tiles of twelve rows of x run over it; each y is one FMA chain in ascending k.
#include "kernels/linear/panels_avx2.h"
#include "kernels/linear/parts_avx512.h"
#include "kernels/linear/store_avx512.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

template <int rows>
void panelTile(const LinearArgs& a, int r, int n, int columns, const float* panel) {
  const float* x = a.x + static_cast<size_t>(r) * static_cast<size_t>(a.K);
  __m512 sum[rows];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) sum[i] = _mm512_setzero_ps();
  for (int k = 0; k < a.K; ++k) {
    const __m512 w = _mm512_load_ps(panel + k * kPanelColumns);
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      sum[i] = _mm512_fmadd_ps(_mm512_set1_ps(x[i * a.K + k]), w, sum[i]);
    }
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    float* y = a.y + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n;
    storeRow512(y, sum[i], columns, a.accumulate);
  }
}

template <DType type>
void panels(const LinearArgs& a, int n0, int n1, float* panel) {
  for (int n = n0; n < n1; n += kPanelColumns) {
    const int columns = n1 - n < kPanelColumns ? n1 - n : kPanelColumns;
    packFloatPanel<type>(a, n, columns, panel);
    int r = 0;
    for (; r + 12 <= a.R; r += 12) panelTile<12>(a, r, n, columns, panel);
    for (; r + 4 <= a.R; r += 4) panelTile<4>(a, r, n, columns, panel);
    switch (a.R - r) {
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

}  // namespace

void linearFloatPanelsAvx512(const LinearArgs& a, int n0, int n1, void* scratch) {
  auto* panel = static_cast<float*>(scratch);
  withType(a.type, [&](auto type) { panels<decltype(type)::value>(a, n0, n1, panel); });
}

}  // namespace baton
