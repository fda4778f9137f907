// SPDX-License-Identifier: Apache-2.0
// Number formats of weights and of KV. Instruction-set files include this, so functions here are
// static: an inline one would leave a weak symbol that could stand in for the plain copy on a CPU
// without those instructions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace baton {

// Weight types; the values index quant/types.
enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ4_K,
  kQ5_K,
  kQ6_K,
};

// Number format of stored K and V. int8: of each row and kv head a scale of its own in float16, so
// that appending a row never changes another; element = scale * quant.
enum class KvType : uint8_t { kF32, kF16, kBF16, kInt8 };

inline constexpr KvType kKvTypes[] = {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8};

static constexpr const char* kvTypeName(KvType type) {
  switch (type) {
    case KvType::kF32:
      return "f32";
    case KvType::kF16:
      return "f16";
    case KvType::kBF16:
      return "bf16";
    case KvType::kInt8:
      return "int8";
  }
  return "";
}

// Of one element, scales not counted.
static constexpr int kvTypeBytes(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kInt8 ? 1 : 2;
}

// Largest length of a key or value that the kernels take.
inline constexpr int kMostHeadDim = 256;

// Rows of one pool block, and lanes of one transposed K group.
inline constexpr int kBlockRows = 16;

// K or V of one kv head in one block: the elements, then, of int8, the scales of the rows.
static constexpr size_t kvHeadBytes(KvType type, int headDim) {
  const auto elements = static_cast<size_t>(kBlockRows) * static_cast<size_t>(headDim);
  const size_t scales = type == KvType::kInt8 ? size_t{2} * kBlockRows : 0;
  return elements * static_cast<size_t>(kvTypeBytes(type)) + scales;
}

// KV rows of one attention piece: the fixed reduction unit that keeps sums the same whatever the
// batch, the chunking and the thread count.
inline constexpr int kPieceRows = 256;

// Elements of one quantisation group of int8 activations.
inline constexpr int kGroup = 32;

}  // namespace baton
