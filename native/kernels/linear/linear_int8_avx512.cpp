// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic on two panels of 16 columns at a time (int8_panels_avx512.h).
#include "kernels/linear/int8_panels_avx512.h"
#include "kernels/linear/parts_avx512.h"

namespace baton {
namespace {

// From so many rows on a panel is unpacked once for all tiles; taken from AVX2, not measured here.
constexpr int kManyRows = 24;

template <DType type, int halves>
void panelColumns(const LinearArgs& a, int n, int columns, void* scratch) {
  Panel panels[halves];
  auto* at = static_cast<std::byte*>(scratch);
  for (int h = 0; h < halves; ++h, at += Panel::unpackedBytes(a.K)) {
    panels[h] = Panel(a, n + h * kPanelColumns, at);
  }
  if (a.R < kManyRows) return panelTiles<type, halves, true>(a, 0, n, columns, panels);
  for (int h = 0; h < halves; ++h) unpackPanel<type>(a.K, panels[h]);
  panelTiles<type, halves, false>(a, 0, n, columns, panels);
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
    if constexpr (isInteger(kType)) allColumns<kType>(a, n0, n1, scratch);  // others: linear.h
  });
}

}  // namespace baton
