// SPDX-License-Identifier: Apache-2.0
// What the kernels must know of each weight type before they read one, as constants; and the one
// switch from a type at run time to a type at compile time. A new weight type is a line in each.
#pragma once

#include <cstddef>

#include "base/dtype.h"
#include "quant/blocks.h"

namespace baton {

// Groups of 32 that share a block.
static constexpr int blockGroups(DType type) {
  return type == DType::kQ4_K || type == DType::kQ5_K || type == DType::kQ6_K ? 8 : 1;
}

// Bytes of a block; of 32 elements in float formats.
static constexpr size_t blockBytes(DType type) {
  switch (type) {
    case DType::kF32:
      return 128;
    case DType::kF16:
    case DType::kBF16:
      return 64;
    case DType::kQ8_0:
      return sizeof(BlockQ8_0);
    case DType::kQ4_0:
      return sizeof(BlockQ4_0);
    case DType::kQ4_1:
      return sizeof(BlockQ4_1);
    case DType::kQ5_0:
      return sizeof(BlockQ5_0);
    case DType::kQ5_1:
      return sizeof(BlockQ5_1);
    case DType::kQ4_K:
      return sizeof(BlockQ4_K);
    case DType::kQ5_K:
      return sizeof(BlockQ5_K);
    case DType::kQ6_K:
      return sizeof(BlockQ6_K);
  }
  return 0;
}

static constexpr size_t rowBytes(DType type, int K) {
  return blockBytes(type) * static_cast<size_t>(K) / static_cast<size_t>(32 * blockGroups(type));
}

static constexpr bool isInteger(DType type) {
  return type != DType::kF32 && type != DType::kF16 && type != DType::kBF16;
}

// Integers are read around zero: the offset c is 0, and vpmaddubsw takes their magnitudes.
static constexpr bool isSigned(DType type) {
  return type == DType::kQ8_0 || type == DType::kQ6_K;
}

// Blocks that begin with the float16 numbers d and c.
static constexpr bool storesOffset(DType type) {
  return type == DType::kQ4_1 || type == DType::kQ5_1;
}

// c = -centre * d where c is a multiple of d.
static constexpr float centre(DType type) {
  return type == DType::kQ4_0 ? 8.0f : type == DType::kQ5_0 ? 16.0f : 0.0f;
}

template <DType type>
struct TypeIs {
  static constexpr DType value = type;
};

// fn(TypeIs<t>) for the t that `type` is.
template <class Fn>
static inline void withType(DType type, const Fn& fn) {
  switch (type) {
    case DType::kF32:
      return fn(TypeIs<DType::kF32>{});
    case DType::kF16:
      return fn(TypeIs<DType::kF16>{});
    case DType::kBF16:
      return fn(TypeIs<DType::kBF16>{});
    case DType::kQ8_0:
      return fn(TypeIs<DType::kQ8_0>{});
    case DType::kQ4_0:
      return fn(TypeIs<DType::kQ4_0>{});
    case DType::kQ4_1:
      return fn(TypeIs<DType::kQ4_1>{});
    case DType::kQ5_0:
      return fn(TypeIs<DType::kQ5_0>{});
    case DType::kQ5_1:
      return fn(TypeIs<DType::kQ5_1>{});
    case DType::kQ4_K:
      return fn(TypeIs<DType::kQ4_K>{});
    case DType::kQ5_K:
      return fn(TypeIs<DType::kQ5_K>{});
    case DType::kQ6_K:
      return fn(TypeIs<DType::kQ6_K>{});
  }
}

}  // namespace baton
