// SPDX-License-Identifier: Apache-2.0
// Reference of dlinear.h: a few columns of a chunk of W at a time, read by the codec of its format.
#include <algorithm>

#include "base/half.h"
#include "kernels/variants.h"
#include "quant/types.h"

namespace baton {
namespace {

// What `bf16` makes of a factor.
float factor(const DLinearArgs& a, float value) {
  return a.bf16 ? floatOfBfloat(bfloatOfFloat(value)) : value;
}

constexpr int kWindow = 256;  // whole blocks of every format

// W[n0 .. n0 + rows, k0 .. k0 + columns) into w, by way of whole windows.
void unpack(const DLinearArgs& a, int n0, int rows, int k0, int columns, float* window, float* w) {
  const QuantType& type = quantType(a.type);
  const int begin = k0 / kWindow * kWindow;
  const auto length = static_cast<size_t>(std::min(kWindow, a.K - begin));
  const size_t rowBytes = quantRowBytes(type, a.K);
  const auto* from = static_cast<const std::byte*>(a.weight) + quantRowBytes(type, begin);
  for (int n = 0; n < rows; ++n) {
    type.dequantize(from + static_cast<size_t>(n0 + n) * rowBytes, window, length);
    std::transform(window + k0 - begin, window + k0 - begin + columns, w + n * columns,
                   [&a](float value) { return factor(a, value); });
  }
}

}  // namespace

void dLinearScalar(const DLinearArgs& a, int k0, int k1, void* scratch) {
  auto* sums = static_cast<float*>(scratch);
  float* window = sums + kDLinearColumns;
  float* w = window + kWindow;  // [kDLinearChunk, columns]
  for (; k0 < k1; k0 += kDLinearColumns) {
    const int columns = std::min(kDLinearColumns, k1 - k0);
    for (int n0 = 0; n0 < a.N; n0 += kDLinearChunk) {
      const int rows = std::min(kDLinearChunk, a.N - n0);
      unpack(a, n0, rows, k0, columns, window, w);
      for (int r = 0; r < a.R; ++r) {
        const float* dy = a.dy + static_cast<size_t>(r) * a.ldy + n0;
        float* dx = a.dx + static_cast<size_t>(r) * a.ldx + k0;
        std::fill_n(sums, columns, 0.0f);
        for (int n = 0; n < rows; ++n) {
          const float d = factor(a, dy[n]);
          for (int k = 0; k < columns; ++k) sums[k] += d * w[n * columns + k];
        }
        const bool add = a.accumulate || n0 > 0;
        for (int k = 0; k < columns; ++k) dx[k] = add ? dx[k] + sums[k] : sums[k];
      }
    }
  }
}

}  // namespace baton
