// SPDX-License-Identifier: Apache-2.0
// How bits become numbers: one row per weight type. A new type is one file in this folder and one
// line in types.cpp; the kernels of each instruction set read it in kernels/linear.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace baton {

// Elements that share a scale and an offset in `unpack`, the fewest of all types.
inline constexpr int kSection = 16;

struct QuantType {
  DType dtype;
  const char* name;   // as GGUF writes it
  uint32_t ggufId;    // ggml_type value in the file
  int blockElements;  // elements of one block (1 for floats)
  int blockBytes;
  // All work on whole blocks; n is a multiple of blockElements.
  void (*dequantize)(const void* src, float* dst, size_t n);
  void (*quantize)(const float* src, void* dst, size_t n);  // round to nearest; for tests and tools
  // The integers behind the numbers, exactly: w[i] = d[i / 16] * q[i] + c[i / 16]. What int8
  // arithmetic runs on; null for types that hold no integers.
  void (*unpack)(const void* src, int8_t* q, float* d, float* c, size_t n);
};

std::span<const QuantType> quantTypes();
const QuantType& quantType(DType dtype);
const QuantType* findQuantType(uint32_t ggufId);  // null when unknown

inline size_t quantRowBytes(const QuantType& type, int64_t elements) {
  return static_cast<size_t>(elements / type.blockElements) * static_cast<size_t>(type.blockBytes);
}

}  // namespace baton
