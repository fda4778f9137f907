// SPDX-License-Identifier: Apache-2.0
// Weight formats: their bytes against blocks written by hand, and their error against the step of
// the format.
#include "quant/types.h"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/half.h"
#include "check.h"

using namespace baton;

namespace {

std::vector<float> dequantized(DType type, const std::vector<uint8_t>& bytes, size_t n) {
  std::vector<float> out(n);
  quantType(type).dequantize(bytes.data(), out.data(), n);
  return out;
}

std::vector<float> roundTrip(DType type, const std::vector<float>& w) {
  std::vector<uint8_t> bytes(quantRowBytes(quantType(type), static_cast<int64_t>(w.size())));
  quantType(type).quantize(w.data(), bytes.data(), w.size());
  return dequantized(type, bytes, w.size());
}

}  // namespace

TEST("quant: the table is indexed by DType and found by the id in the file") {
  struct Fact {
    DType dtype;
    const char* name;
    uint32_t id;
    int elements, bytes;
  };
  constexpr Fact kFacts[] = {{DType::kF32, "F32", 0, 1, 4},     {DType::kF16, "F16", 1, 1, 2},
                             {DType::kQ4_0, "Q4_0", 2, 32, 18}, {DType::kQ4_1, "Q4_1", 3, 32, 20},
                             {DType::kQ8_0, "Q8_0", 8, 32, 34}, {DType::kBF16, "BF16", 30, 1, 2}};
  for (const Fact& fact : kFacts) {
    const QuantType& type = quantType(fact.dtype);
    CHECK(type.dtype == fact.dtype);
    CHECK_EQ(std::string(type.name), std::string(fact.name));
    CHECK_EQ(type.ggufId, fact.id);
    CHECK_EQ(type.blockElements, fact.elements);
    CHECK_EQ(type.blockBytes, fact.bytes);
    CHECK(findQuantType(fact.id) == &type);
    CHECK_EQ(quantRowBytes(type, 64), static_cast<size_t>(64 / fact.elements * fact.bytes));
  }
  for (const uint32_t unknown : {4u, 6u, 12u, 99u}) CHECK(findQuantType(unknown) == nullptr);
}

TEST("quant: Q8_0 block by hand") {
  std::vector<uint8_t> block(34);
  block[1] = 0x38;  // d = 0.5
  for (int i = 0; i < 32; ++i)
    block[static_cast<size_t>(2 + i)] = static_cast<uint8_t>(i * 8 - 128);
  const auto w = dequantized(DType::kQ8_0, block, 32);
  for (int i = 0; i < 32; ++i) CHECK_EQ(w[static_cast<size_t>(i)], 0.5f * (i * 8 - 128));
}

TEST("quant: Q4_0 block by hand: low nibbles first, around 8") {
  std::vector<uint8_t> block(18);
  block[0] = 0x00, block[1] = 0xc0;  // d = -2
  for (size_t j = 0; j < 16; ++j) block[2 + j] = static_cast<uint8_t>(j | (15 - j) << 4);
  const auto w = dequantized(DType::kQ4_0, block, 32);
  for (int j = 0; j < 16; ++j) {
    CHECK_EQ(w[static_cast<size_t>(j)], -2.0f * (j - 8));
    CHECK_EQ(w[static_cast<size_t>(j + 16)], -2.0f * (7 - j));
  }
}

TEST("quant: Q4_1 block by hand: low nibbles first, above m") {
  std::vector<uint8_t> block(20);
  block[1] = 0x34;                   // d = 0.25
  block[2] = 0x00, block[3] = 0xbc;  // m = -1
  for (size_t j = 0; j < 16; ++j) block[4 + j] = static_cast<uint8_t>((15 - j) | j << 4);
  const auto w = dequantized(DType::kQ4_1, block, 32);
  for (int j = 0; j < 16; ++j) {
    CHECK_EQ(w[static_cast<size_t>(j)], 0.25f * (15 - j) - 1.0f);
    CHECK_EQ(w[static_cast<size_t>(j + 16)], 0.25f * j - 1.0f);
  }
}

TEST("quant: round trips stay within half a step of the format") {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::vector<float> w(32 * 200);
  for (float& value : w) value = normal(random);
  for (const QuantType& type : quantTypes()) {
    const auto back = roundTrip(type.dtype, w);
    const size_t block = 32;
    int wrong = 0;
    for (size_t b = 0; b < w.size(); b += block) {
      float low = 0, high = 0, largest = 0;
      for (size_t i = b; i < b + block; ++i) {
        low = std::min(i == b ? w[i] : low, w[i]);
        high = std::max(i == b ? w[i] : high, w[i]);
        largest = std::max(largest, std::fabs(w[i]));
      }
      for (size_t i = b; i < b + block; ++i) {
        // Half a step, and 15 steps of a scale that float16 moved by 2^-11 at most. Q4_0 cannot
        // reach +8 steps.
        double bound = 0;
        if (type.dtype == DType::kF16) bound = std::fabs(w[i]) * 0x1p-11 + 0x1p-25;
        if (type.dtype == DType::kBF16) bound = std::fabs(w[i]) * 0x1p-8;
        if (type.dtype == DType::kQ8_0) bound = largest * (0.5 / 127 + 0x1p-11);
        if (type.dtype == DType::kQ4_0) bound = largest * (1.0 / 8 + 0x1p-10);
        if (type.dtype == DType::kQ4_1) {
          bound = (high - low) * (0.5 / 15 + 0x1p-11) + std::fabs(low) * 0x1p-11;
        }
        wrong += !(std::fabs(static_cast<double>(back[i]) - w[i]) <= bound);
      }
    }
    CHECK_EQ(wrong, 0);
  }
}

TEST("quant: blocks of zeros and of one value") {
  for (const QuantType& type : quantTypes()) {
    for (const float value : {0.0f, 1.0f, -0.5f}) {
      const std::vector<float> w(64, value);
      const auto back = roundTrip(type.dtype, w);
      for (const float b : back) CHECK_NEAR(b, value, std::fabs(value) * 0.001);
    }
  }
}
