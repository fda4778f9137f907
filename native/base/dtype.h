// SPDX-License-Identifier: Apache-2.0
// Number formats of weights and of KV. Instruction-set files include this, so functions here are
// static: an inline one would leave a weak symbol that could stand in for the plain copy on a CPU
// without those instructions.
#pragma once

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

// Number format of stored K and V.
enum class KvType : uint8_t { kF32, kF16, kBF16 };

static constexpr int kvTypeBytes(KvType type) {
  return type == KvType::kF32 ? 4 : 2;
}

// Rows of one pool block, and lanes of one transposed K group.
inline constexpr int kBlockRows = 16;

// KV rows of one attention piece: the fixed reduction unit that keeps sums the same whatever the
// batch, the chunking and the thread count.
inline constexpr int kPieceRows = 256;

// Elements of one quantisation group of int8 activations.
inline constexpr int kGroup = 32;

}  // namespace baton
