// SPDX-License-Identifier: Apache-2.0
// Quantised weights as int8 kernels read them. W [N, K] is cut into panels of 16 columns (rows of
// the file). A panel is its blocks in ascending k, one behind the other: a kernel reads one stream,
// whatever the number of columns. Bytes are those of the file, but for the scales of super-blocks,
// which are not squeezed into six bits (2 to 3 % more).
//
// A block is 32 elements of 16 columns, or 256 where the type has super-blocks. First its scales:
//   Q8_0, Q4_0, Q5_0   d [16] float16
//   Q4_1, Q5_1         d [16], m [16] float16
//   Q4_K, Q5_K         d [16], dmin [16] float16; of each of 8 groups: scale [16], min [16] bytes
//   Q6_K               d [16] float16; of each of 16 sections: scale [16] int8
// then the quants of each group of 32 k, which are 16 vectors of 32 bytes: byte j of vector v
// belongs to column 8 (v % 2) + j / 4 and k = 4 (v / 2) + j % 4, as vpmaddubsw, vpdpbusd and AMX
// take them. The vectors lie in planes: one of b bits has 8 / b vectors in 32 bytes, bits
// [b i, b i + b) of byte j being those of byte j of vector i. 4-bit types have one plane of 4,
// 5-bit types another of 1 for the bits above, Q6_K one of 2, Q8_0 one of 8. Quants count from 0,
// those of Q8_0 are signed.
#pragma once

#include <cstddef>

#include "kernels/linear/types.h"

namespace baton {

inline constexpr int kPanelColumns = 16;
inline constexpr int kPanelVectors = 16;  // of a group
inline constexpr int kPanelVectorBytes = 32;

// Bits of the planes of a type; 0: there is none.
struct Planes {
  int low, high;
};

static constexpr Planes planesOf(DType type) {
  switch (type) {
    case DType::kQ8_0:
      return {8, 0};
    case DType::kQ5_0:
    case DType::kQ5_1:
    case DType::kQ5_K:
      return {4, 1};
    case DType::kQ6_K:
      return {4, 2};
    default:
      return {4, 0};
  }
}

// Of the quants of one group.
static constexpr size_t planeBytes(int bits) {
  return static_cast<size_t>(kPanelVectors * kPanelVectorBytes / 8 * bits);
}

static constexpr size_t panelGroupBytes(DType type) {
  return planeBytes(planesOf(type).low) + planeBytes(planesOf(type).high);
}

// Of the scales of one block.
static constexpr size_t panelScaleBytes(DType type) {
  switch (type) {
    case DType::kQ4_1:
    case DType::kQ5_1:
      return 64;
    case DType::kQ4_K:
    case DType::kQ5_K:
      return 64 + 8 * 32;
    case DType::kQ6_K:
      return 32 + 16 * 16;
    default:
      return 32;
  }
}

static constexpr size_t panelBlockBytes(DType type) {
  return panelScaleBytes(type) + static_cast<size_t>(blockGroups(type)) * panelGroupBytes(type);
}

// Of 16 columns of depth K.
static constexpr size_t panelBytes(DType type, int K) {
  return static_cast<size_t>(K / 32 / blockGroups(type)) * panelBlockBytes(type);
}

static constexpr int panelCount(int N) {
  return (N + kPanelColumns - 1) / kPanelColumns;
}

// Of all panels of W [N, K].
static constexpr size_t panelsBytes(DType type, int N, int K) {
  return static_cast<size_t>(panelCount(N)) * panelBytes(type, K);
}

// Writes panels [first, last) of `weight` [N, K], rows as in the file, each to its place in
// `panels`, panelsBytes(type, N, K) long. The last one repeats the last column where N ends
// within it. For types of integers.
void packPanels(DType type, const void* weight, int N, int K, int first, int last,
                std::byte* panels);

}  // namespace baton
