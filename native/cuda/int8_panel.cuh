// SPDX-License-Identifier: Apache-2.0
// Panels of linear/panels.h as half a warp reads them. A plane of four bits holds, in its 16 lanes,
// one group of 32 k: lane (p, h) has the bytes of k = 4 p .. 4 p + 3 for columns 4 h .. 4 h + 3 and
// 8 + 4 h .. 8 + 4 h + 3, so that a warp reads 512 bytes in a row and every word meets one word of
// the activations.
#pragma once

#include "cuda/lanes.cuh"
#include "cuda/wide.cuh"
#include "kernels/linear/panels.h"

namespace baton::cuda {

inline constexpr int kPanelLaneColumns = 8;
inline constexpr int kHalfWarp = 16;

// Column c of a lane's eight, in the panel.
__device__ inline int columnOf(int half, int c) {
  return 4 * half + c % 4 + c / 4 * 8;
}

// Four float16 numbers.
struct Halves {
  uint2 bits;
  __device__ float operator[](int i) const {
    const unsigned word = i < 2 ? bits.x : bits.y;
    return wideHalf(static_cast<uint16_t>(i % 2 == 0 ? word : word >> 16));
  }
};

__device__ inline Halves halvesAt(const std::byte* halves, int half, int c) {
  return {*reinterpret_cast<const uint2*>(halves + 2 * columnOf(half, c))};
}

__device__ inline unsigned bytesAt(const std::byte* bytes, int half, int c) {
  return *reinterpret_cast<const unsigned*>(bytes + columnOf(half, c));
}

__device__ inline unsigned byteOf(unsigned word, int i) {
  return word >> (8 * i) & 255;
}

// w = d q + c of the lane's columns in one group; c is 0 for types that are read around zero.
struct Scales {
  float d[kPanelLaneColumns], c[kPanelLaneColumns];
};

// `scales`: of the block of the group; section: of the lane's k, 0 or 1.
template <DType kType>
__device__ inline Scales scalesAt(const std::byte* scales, int group, int section, int half) {
  Scales out;
  BATON_UNROLL
  for (int four = 0; four < kPanelLaneColumns; four += 4) {
    const Halves d = halvesAt(scales, half, four);
    if constexpr (kType == DType::kQ6_K) {
      const unsigned s = bytesAt(scales + 32 + 16 * (2 * group + section), half, four);
      BATON_UNROLL
      for (int i = 0; i < 4; ++i) {
        out.d[four + i] = d[i] * static_cast<float>(static_cast<int8_t>(byteOf(s, i)));
        out.c[four + i] = 0;
      }
    } else if constexpr (blockGroups(kType) > 1) {
      const Halves dmin = halvesAt(scales + 32, half, four);
      const unsigned s = bytesAt(scales + 64 + 32 * group, half, four);
      const unsigned m = bytesAt(scales + 64 + 32 * group + 16, half, four);
      BATON_UNROLL
      for (int i = 0; i < 4; ++i) {
        out.d[four + i] = d[i] * static_cast<float>(byteOf(s, i));
        out.c[four + i] = -dmin[i] * static_cast<float>(byteOf(m, i));
      }
    } else if constexpr (storesOffset(kType)) {
      const Halves m = halvesAt(scales + 32, half, four);
      BATON_UNROLL
      for (int i = 0; i < 4; ++i) {
        out.d[four + i] = d[i];
        out.c[four + i] = m[i];
      }
    } else {
      BATON_UNROLL
      for (int i = 0; i < 4; ++i) {
        out.d[four + i] = d[i];
        out.c[four + i] = -centre(kType) * d[i];
      }
    }
  }
  return out;
}

// The quants of the lane, a word of four k for each column.
struct Quants {
  unsigned word[kPanelLaneColumns];
};

__device__ inline void spread(const uint4& v, unsigned (&word)[4]) {
  word[0] = v.x, word[1] = v.y, word[2] = v.z, word[3] = v.w;
}

// `quants`: of the group; p: which four k.
template <DType kType>
__device__ inline Quants quantsAt(const std::byte* quants, int p, int half) {
  constexpr Planes kPlanes = planesOf(kType);
  const auto at = [&](size_t offset) { return *reinterpret_cast<const uint4*>(quants + offset); };
  const auto side = static_cast<size_t>(16 * half);
  Quants out;
  unsigned low[4], high[4];
  if constexpr (kPlanes.low == 8) {
    const auto vectors = static_cast<size_t>(2 * kPanelVectorBytes * p);
    spread(at(vectors + side), low);
    spread(at(vectors + kPanelVectorBytes + side), high);
    BATON_UNROLL
    for (int i = 0; i < 4; ++i) {
      out.word[i] = low[i];
      out.word[4 + i] = high[i];
    }
    return out;
  }
  spread(at(static_cast<size_t>(kPanelVectorBytes * p) + side), low);
  BATON_UNROLL
  for (int i = 0; i < 4; ++i) {
    out.word[i] = low[i] & 0x0f0f0f0fu;
    out.word[4 + i] = low[i] >> 4 & 0x0f0f0f0fu;
  }
  if constexpr (kPlanes.high > 0) {
    constexpr int kEach = 8 / kPlanes.high / 2;  // fours of k in one row of the plane
    constexpr unsigned kMask = 0x01010101u * ((1u << kPlanes.high) - 1);
    const size_t row = planeBytes(4) + static_cast<size_t>(kPanelVectorBytes * (p / kEach));
    const int shift = p % kEach * 2 * kPlanes.high;
    spread(at(row + side), high);
    BATON_UNROLL
    for (int i = 0; i < 4; ++i) {
      out.word[i] |= (high[i] >> shift & kMask) << 4;
      out.word[4 + i] |= (high[i] >> (shift + kPlanes.high) & kMask) << 4;
    }
  }
  if constexpr (kType == DType::kQ6_K) {
    // Less 32, a byte at a time: with 128 on top nothing is borrowed from the next.
    BATON_UNROLL
    for (int i = 0; i < kPanelLaneColumns; ++i) {
      out.word[i] = ((out.word[i] | 0x80808080u) - 0x20202020u) ^ 0x80808080u;
    }
  }
  return out;
}

__device__ inline int fourBytes(const int8_t* from) {
  if (reinterpret_cast<uintptr_t>(from) % 4 == 0) return *reinterpret_cast<const int*>(from);
  const auto* bytes = reinterpret_cast<const uint8_t*>(from);
  return static_cast<int>(bytes[0] | bytes[1] << 8 | bytes[2] << 16 |
                          static_cast<unsigned>(bytes[3]) << 24);
}

// Rows [rows, K] as quantize of rows.h makes them.
struct QuantRows {
  const int8_t* q;
  const float* d;
  const float* s;
  int K;
};

// Of a group: everything that the lane adds, for `rows` rows from r0 on.
template <DType kType, int kRows>
__device__ inline void addGroup(const QuantRows& from, const std::byte* panel, int group, int r0,
                                int rows, float (&sum)[kRows][kPanelLaneColumns]) {
  constexpr int kGroups = blockGroups(kType);
  const int lane = static_cast<int>(threadIdx.x) % kHalfWarp;
  const int p = lane / 2, half = lane % 2;
  const std::byte* block = panel + static_cast<size_t>(group / kGroups) * panelBlockBytes(kType);
  const std::byte* quants = block + panelScaleBytes(kType) +
                            static_cast<size_t>(group % kGroups) * panelGroupBytes(kType);
  const Quants q = quantsAt<kType>(quants, p, half);
  const Scales scales = scalesAt<kType>(block, group % kGroups, p / 4, half);
  BATON_UNROLL
  for (int r = 0; r < kRows; ++r) {
    if (r >= rows) break;
    const size_t at = static_cast<size_t>(r0 + r) * static_cast<size_t>(from.K / kGroup) +
                      static_cast<size_t>(group);
    const int x = fourBytes(from.q + at * kGroup + 4 * p);
    const float xd = from.d[at], xs = p == 0 ? from.s[at] : 0.0f;
    BATON_UNROLL
    for (int c = 0; c < kPanelLaneColumns; ++c) {
      const int dot = __dp4a(static_cast<int>(q.word[c]), x, 0);
      sum[r][c] += scales.d[c] * xd * static_cast<float>(dot);
      if constexpr (!isSigned(kType)) sum[r][c] += scales.c[c] * xs;
    }
  }
}

// Of the groups that the warp has in turn with `warps` others, two at a time: sums of its lanes
// over rows [r0, r0 + rows), to `sums` [kRows][16].
template <DType kType, int kRows>
__device__ inline void addPanel(const QuantRows& from, const std::byte* panel, int r0, int rows,
                                int warps, float* sums) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float sum[kRows][kPanelLaneColumns] = {};
  for (int group = 2 * warp + lane / kHalfWarp; group < from.K / kGroup; group += 2 * warps) {
    addGroup<kType, kRows>(from, panel, group, r0, rows, sum);
  }
  BATON_UNROLL
  for (int r = 0; r < kRows; ++r) {
    BATON_UNROLL
    for (int c = 0; c < kPanelLaneColumns; ++c) {
      float total = sum[r][c];
      BATON_UNROLL
      for (int step = kWarp / 2; step > 1; step /= 2) {
        total += __shfl_xor_sync(kAllLanes, total, step);
      }
      if (lane < 2) sums[r * kPanelColumns + columnOf(lane, c)] = total;
    }
  }
}

}  // namespace baton::cuda
