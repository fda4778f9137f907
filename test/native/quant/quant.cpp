// SPDX-License-Identifier: Apache-2.0
// Weight formats: their bytes against blocks written by hand and against gguf-py, and their error
// against the step of the format.
#include "quant/types.h"

#include <cmath>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "check.h"
#include "model/formats/gguf.h"

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
  constexpr Fact kFacts[] = {
      {DType::kF32, "F32", 0, 1, 4},        {DType::kF16, "F16", 1, 1, 2},
      {DType::kQ4_0, "Q4_0", 2, 32, 18},    {DType::kQ4_1, "Q4_1", 3, 32, 20},
      {DType::kQ8_0, "Q8_0", 8, 32, 34},    {DType::kBF16, "BF16", 30, 1, 2},
      {DType::kQ5_0, "Q5_0", 6, 32, 22},    {DType::kQ5_1, "Q5_1", 7, 32, 24},
      {DType::kQ4_K, "Q4_K", 12, 256, 144}, {DType::kQ5_K, "Q5_K", 13, 256, 176},
      {DType::kQ6_K, "Q6_K", 14, 256, 210}};
  CHECK_EQ(std::size(kFacts), quantTypes().size());
  for (const Fact& fact : kFacts) {
    const QuantType& type = quantType(fact.dtype);
    CHECK(type.dtype == fact.dtype);
    CHECK_EQ(std::string(type.name), std::string(fact.name));
    CHECK_EQ(type.ggufId, fact.id);
    CHECK_EQ(type.blockElements, fact.elements);
    CHECK_EQ(type.blockBytes, fact.bytes);
    CHECK(findQuantType(fact.id) == &type);
    CHECK_EQ(quantRowBytes(type, 512), static_cast<size_t>(512 / fact.elements * fact.bytes));
  }
  for (const uint32_t unknown : {4u, 9u, 20u, 99u}) CHECK(findQuantType(unknown) == nullptr);
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

// A file of tensors "<TYPE>", blocks of random bytes, and "<TYPE>.values", what gguf-py makes of
// them.
TEST("quant: every type reads blocks as gguf-py does, bit for bit") {
  const auto path =
      std::filesystem::path(__FILE__).parent_path() / "../../fixtures/quant-blocks/blocks.gguf";
  const auto file = GgufFile::open(path.string());
  for (const QuantType& type : quantTypes()) {
    const GgufTensor* blocks = file->findTensor(type.name);
    const GgufTensor* values = file->findTensor(std::string(type.name) + ".values");
    REQUIRE(blocks != nullptr && values != nullptr);
    REQUIRE(blocks->type == &type && values->type == &quantType(DType::kF32));
    REQUIRE(blocks->elements() == values->elements());
    const auto n = static_cast<size_t>(blocks->elements());
    const auto* want = reinterpret_cast<const float*>(values->data);
    std::vector<float> got(n);
    type.dequantize(blocks->data, got.data(), n);
    size_t different = 0, zeros = 0;
    for (size_t i = 0; i < n; ++i) {
      different += !(got[i] == want[i]);  // 0 and -0 are one
      zeros += want[i] == 0;
    }
    CHECK_EQ(different, 0u);
    CHECK(n >= 1024 && zeros < n / 2);
  }
}

TEST(
    "quant: integers, scales and offsets give the numbers, and offsets are those of whole groups") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.1f, 1.0f);
  std::vector<float> w(256 * 40), back(w.size()), d(w.size() / kSection), c = d;
  for (float& value : w) value = normal(random);
  std::vector<int8_t> q(w.size());
  for (const QuantType& type : quantTypes()) {
    CHECK_EQ(type.unpack == nullptr, type.blockElements == 1);
    if (type.unpack == nullptr) continue;
    std::vector<uint8_t> bytes(quantRowBytes(type, static_cast<int64_t>(w.size())));
    type.quantize(w.data(), bytes.data(), w.size());
    type.dequantize(bytes.data(), back.data(), w.size());
    type.unpack(bytes.data(), q.data(), d.data(), c.data(), w.size());
    size_t different = 0, uneven = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      const float value = d[i / kSection] * static_cast<float>(q[i]) + c[i / kSection];
      different += !(value == back[i]);
    }
    for (size_t s = 0; s < c.size(); s += kGroup / kSection) uneven += c[s] != c[s + 1];
    CHECK_EQ(different, 0u);
    CHECK_EQ(uneven, 0u);
  }
}

namespace {

struct Range {
  double low, high, largest;
};
Range rangeOf(const std::vector<float>& w, size_t at, size_t n) {
  Range range{w[at], w[at], 0};
  for (size_t i = at; i < at + n; ++i) {
    range.low = std::min<double>(range.low, w[i]);
    range.high = std::max<double>(range.high, w[i]);
    range.largest = std::max(range.largest, std::fabs(static_cast<double>(w[i])));
  }
  return range;
}

// Half a step of the format at w[i], and what rounded scales add to it.
double halfStep(DType type, const std::vector<float>& w, size_t i) {
  const double size = std::fabs(static_cast<double>(w[i]));
  const auto [low, high, largest] = rangeOf(w, i / 32 * 32, 32);
  const double width = high - low;
  switch (type) {
    case DType::kF16:
      return size * 0x1p-11 + 0x1p-25;
    case DType::kBF16:
      return size * 0x1p-8;
    case DType::kQ8_0:
      return largest * (0.5 / 127 + 0x1p-11);
    case DType::kQ4_0:  // +8 steps are out of reach
      return largest * (1.0 / 8 + 0x1p-10);
    case DType::kQ5_0:
      return largest * (1.0 / 16 + 0x1p-10);
    case DType::kQ4_1:
      return width * (0.5 / 15 + 0x1p-11) + std::fabs(low) * 0x1p-11;
    case DType::kQ5_1:
      return width * (0.5 / 31 + 0x1p-11) + std::fabs(low) * 0x1p-11;
    case DType::kQ4_K:
    case DType::kQ5_K: {
      // Scales and minima are 6-bit parts of the largest of the block: off by 1 / 126 of it.
      double step = 0, depth = 0;
      const double most = type == DType::kQ4_K ? 15 : 31;
      for (size_t g = i / 256 * 256; g < i / 256 * 256 + 256; g += 32) {
        const Range group = rangeOf(w, g, 32);
        step = std::max(step, (std::max(group.high, 0.0) - std::min(group.low, 0.0)) / most);
        depth = std::max(depth, -group.low);
      }
      return (std::max(high, 0.0) - std::min(low, 0.0)) * (0.5 / most + 0x1p-10) +
             step * (0.5 + most) / 120 + depth / 120;
    }
    case DType::kQ6_K: {
      const double section = rangeOf(w, i / 16 * 16, 16).largest;
      const double block = rangeOf(w, i / 256 * 256, 256).largest;
      return section * (1.0 / 32 + 0x1p-10) + block / 250;
    }
    default:
      return 0;
  }
}

}  // namespace

TEST("quant: round trips stay within half a step of the format") {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::vector<float> w(256 * 25);
  for (float& value : w) value = normal(random);
  for (const QuantType& type : quantTypes()) {
    const auto back = roundTrip(type.dtype, w);
    int wrong = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      wrong += !(std::fabs(static_cast<double>(back[i]) - w[i]) <= halfStep(type.dtype, w, i));
    }
    CHECK_EQ(wrong, 0);
  }
}

TEST("quant: blocks of zeros and of one value") {
  for (const QuantType& type : quantTypes()) {
    for (const float value : {0.0f, 1.0f, -0.5f}) {
      const std::vector<float> w(512, value);
      const auto back = roundTrip(type.dtype, w);
      for (const float b : back) CHECK_NEAR(b, value, std::fabs(value) * 0.001);
    }
  }
}
