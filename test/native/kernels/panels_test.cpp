// SPDX-License-Identifier: Apache-2.0
// Packed weights, read back as the text of panels.h has them, against the codec of the format.
#include "kernels/linear/panels.h"

#include "base/buffer.h"
#include "support.h"
#include "weights.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr int kColumns = 37;  // the last panel is not full

int byteAt(const std::byte* at, size_t index) {
  return static_cast<int>(at[index]);
}

// Byte j of vector v in a plane of `bits` bits.
int planeValue(const std::byte* plane, int bits, int v, int j) {
  const int each = 8 / bits;
  return byteAt(plane, static_cast<size_t>(v / each * 32 + j)) >> (bits * (v % each)) &
         ((1 << bits) - 1);
}

struct Read {
  int quant;
  float d, c;
};

float halfAt(const std::byte* at, int column) {
  uint16_t half;
  std::memcpy(&half, at + 2 * column, 2);
  return floatOfHalf(half);
}

// W[n, k] from the panels.
Read read(DType type, const std::byte* panels, int K, int n, int k) {
  const int groups = blockGroups(type), column = n % 16, group = k / 32 % groups;
  const std::byte* block = panels + static_cast<size_t>(n / 16) * panelBytes(type, K) +
                           static_cast<size_t>(k / 32 / groups) * panelBlockBytes(type);
  const std::byte* quants =
      block + panelScaleBytes(type) + static_cast<size_t>(group) * panelGroupBytes(type);
  const int v = 2 * (k % 32 / 4) + column / 8, j = column % 8 * 4 + k % 4;
  const Planes planes = planesOf(type);
  int quant = planeValue(quants, planes.low, v, j);
  if (planes.high > 0) {
    quant |= planeValue(quants + planeBytes(planes.low), planes.high, v, j) << planes.low;
  }
  const float d = halfAt(block, column), second = halfAt(block + 32, column);
  switch (type) {
    case DType::kQ8_0:
      return {static_cast<int8_t>(quant), d, 0};
    case DType::kQ4_0:
      return {quant, d, -8 * d};
    case DType::kQ5_0:
      return {quant, d, -16 * d};
    case DType::kQ4_1:
    case DType::kQ5_1:
      return {quant, d, second};
    case DType::kQ6_K: {
      const int section = k % 256 / 16;
      const auto scale = static_cast<int8_t>(block[32 + 16 * section + column]);
      return {quant - 32, d * static_cast<float>(scale), 0};
    }
    default: {
      const std::byte* scales = block + 64 + 32 * group;
      return {quant, d * static_cast<float>(byteAt(scales, static_cast<size_t>(column))),
              -second * static_cast<float>(byteAt(scales, static_cast<size_t>(16 + column)))};
    }
  }
}

}  // namespace

TEST("panels: every quant and scale of every type lies where the layout says") {
  for (const QuantType& type : quantTypes()) {
    if (type.unpack == nullptr) continue;
    const int K = 2 * wholeBlocks(type, 64);
    const auto count = static_cast<size_t>(kColumns * K);
    Random random(7);
    std::vector<std::byte> rows(quantRowBytes(type, kColumns * K));
    fillWeights(type, count, random, rows.data());
    std::vector<int8_t> q(count);
    std::vector<float> d(count / kSection), c(count / kSection);
    type.unpack(rows.data(), q.data(), d.data(), c.data(), count);
    Buffer panels(panelsBytes(type.dtype, kColumns, K));
    packPanels(type.dtype, rows.data(), kColumns, K, 2, 3, panels.data());  // in any order
    packPanels(type.dtype, rows.data(), kColumns, K, 0, 2, panels.data());
    int wrong = 0;
    for (int n = 0; n < 16 * panelCount(kColumns); ++n) {
      for (int k = 0; k < K; ++k) {
        const size_t at = static_cast<size_t>(std::min(n, kColumns - 1) * K + k);
        const Read got = read(type.dtype, panels.data(), K, n, k);
        wrong += got.quant != q[at] || got.d != d[at / kSection] || got.c != c[at / kSection];
      }
    }
    expect(wrong == 0, __FILE__, __LINE__,
           std::string(type.name) + ": " + std::to_string(wrong) + " of " + std::to_string(count));
  }
}
