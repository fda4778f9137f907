// SPDX-License-Identifier: Apache-2.0
// The functions of a type's row in the table, from what the type does to one block:
//   unpack(block, q, d, c)  integers q [elements], scales d and offsets c [elements / 16]
//   quantize(w, block)
#pragma once

#include <algorithm>
#include <cmath>

#include "quant/types.h"

namespace baton {

template <class Block, int elements, void (*unpack)(const Block&, int8_t*, float*, float*)>
void unpackBlocks(const void* src, int8_t* q, float* d, float* c, size_t n) {
  constexpr size_t kSections = elements / kSection;
  const auto* blocks = static_cast<const Block*>(src);
  for (size_t b = 0; b < n / elements; ++b) {
    unpack(blocks[b], q + b * elements, d + b * kSections, c + b * kSections);
  }
}

// Products d * q are exact in float32 for every type (11 bits of a float16 times a scale of 8 bits
// times a quant of 5, or 11 times 8), so w is rounded once, in the addition.
template <class Block, int elements, void (*unpack)(const Block&, int8_t*, float*, float*)>
void dequantizeBlocks(const void* src, float* dst, size_t n) {
  const auto* blocks = static_cast<const Block*>(src);
  for (size_t b = 0; b < n / elements; ++b) {
    int8_t q[elements];
    float d[elements / kSection], c[elements / kSection];
    unpack(blocks[b], q, d, c);
    for (int i = 0; i < elements; ++i) {
      dst[b * elements + static_cast<size_t>(i)] =
          d[i / kSection] * static_cast<float>(q[i]) + c[i / kSection];
    }
  }
}

template <class Block, int elements, void (*quantize)(const float*, Block&)>
void quantizeBlocks(const float* src, void* dst, size_t n) {
  auto* blocks = static_cast<Block*>(dst);
  for (size_t b = 0; b < n / elements; ++b) quantize(src + b * elements, blocks[b]);
}

template <class Block, int elements, void (*unpack)(const Block&, int8_t*, float*, float*),
          void (*quantize)(const float*, Block&)>
constexpr QuantType blockType(DType dtype, const char* name, uint32_t ggufId) {
  return {dtype,
          name,
          ggufId,
          elements,
          sizeof(Block),
          dequantizeBlocks<Block, elements, unpack>,
          quantizeBlocks<Block, elements, quantize>,
          unpackBlocks<Block, elements, unpack>};
}

inline int roundedWithin(float value, int low, int high) {
  return static_cast<int>(std::clamp<long>(std::lrint(value), low, high));
}

// The element of largest magnitude. Types whose integers reach one further below zero than above it
// give this element the lowest one, so that d carries its sign.
inline float extremeOf(const float* w, int n) {
  float extreme = 0;
  for (int i = 0; i < n; ++i) {
    if (std::fabs(w[i]) > std::fabs(extreme)) extreme = w[i];
  }
  return extreme;
}

}  // namespace baton
