// SPDX-License-Identifier: Apache-2.0
// Reference of dlinear.h: a chunk of a panel of W at a time, read by the codec of its format.
#include <algorithm>

#include "kernels/variants.h"
#include "quant/types.h"

namespace baton {

void dLinearScalar(const DLinearArgs& a, int k0, int k1, void* scratch) {
  const QuantType& type = quantType(a.type);
  const size_t rowBytes = quantRowBytes(type, a.K);
  auto* sums = static_cast<float*>(scratch);
  float* w = sums + kDLinearColumns;  // [kDLinearChunk, columns]
  for (; k0 < k1; k0 += kDLinearColumns) {
    const int columns = std::min(kDLinearColumns, k1 - k0);
    const auto* panel = static_cast<const std::byte*>(a.weight) + quantRowBytes(type, k0);
    for (int n0 = 0; n0 < a.N; n0 += kDLinearChunk) {
      const int rows = std::min(kDLinearChunk, a.N - n0);
      for (int n = 0; n < rows; ++n) {
        type.dequantize(panel + static_cast<size_t>(n0 + n) * rowBytes, w + n * columns,
                        static_cast<size_t>(columns));
      }
      for (int r = 0; r < a.R; ++r) {
        const float* dy = a.dy + static_cast<size_t>(r) * a.ldy + n0;
        float* dx = a.dx + static_cast<size_t>(r) * a.ldx + k0;
        std::fill_n(sums, columns, 0.0f);
        for (int n = 0; n < rows; ++n) {
          for (int k = 0; k < columns; ++k) sums[k] += dy[n] * w[n * columns + k];
        }
        const bool add = a.accumulate || n0 > 0;
        for (int k = 0; k < columns; ++k) dx[k] = add ? dx[k] + sums[k] : sums[k];
      }
    }
  }
}

}  // namespace baton
