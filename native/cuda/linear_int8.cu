// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic of linear.h for few rows, weights in the panels of linear/panels.h as on a CPU: a
// block for one panel, 16 columns of W. A plane of four bits holds, in the 16 lanes of half a warp,
// one group of 32 k: lane (p, h) has the bytes of k = 4 p .. 4 p + 3 for columns 4 h .. 4 h + 3 and
// 8 + 4 h .. 8 + 4 h + 3, so that a warp reads 512 bytes in a row and every word meets one word of
// the activations. Warps take groups in turn, two at a time; sums over lanes and warps are made
// once, at the end, in an order that the depth alone decides.
#include "cuda/lanes.cuh"
#include "cuda/ops.h"
#include "cuda/wide.cuh"
#include "kernels/linear/panels.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kColumns = 8;  // of a lane
constexpr int kHalfWarp = 16;

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
  float d[kColumns], c[kColumns];
};

// `scales`: of the block of the group; section: of the lane's k, 0 or 1.
template <DType kType>
__device__ inline Scales scalesAt(const std::byte* scales, int group, int section, int half) {
  Scales out;
  BATON_UNROLL
  for (int four = 0; four < kColumns; four += 4) {
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
  unsigned word[kColumns];
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
    for (int i = 0; i < kColumns; ++i) {
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

// Of a group: everything that the lane adds, for `rows` rows from r0 on.
template <DType kType, int kRows>
__device__ inline void addGroup(const LinearArgs& a, const std::byte* panel, int group, int r0,
                                int rows, float (&sum)[kRows][kColumns]) {
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
    const size_t at = static_cast<size_t>(r0 + r) * static_cast<size_t>(a.K / kGroup) +
                      static_cast<size_t>(group);
    const int x = fourBytes(a.xq + at * kGroup + 4 * p);
    const float xd = a.xd[at], xs = p == 0 ? a.xs[at] : 0.0f;
    BATON_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      const int dot = __dp4a(static_cast<int>(q.word[c]), x, 0);
      sum[r][c] += scales.d[c] * xd * static_cast<float>(dot);
      if constexpr (!isSigned(kType)) sum[r][c] += scales.c[c] * xs;
    }
  }
}

// Blocks: (panel, kRows rows).
template <DType kType, int kRows>
__global__ void __launch_bounds__(kThreads, kRows == 1 ? 4 : 2)
    linearInt8(LinearArgs a, int n0, int n1) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int first = n0 + static_cast<int>(blockIdx.x) * kPanelColumns;
  const int r0 = static_cast<int>(blockIdx.y) * kRows;
  const int rows = a.R - r0 < kRows ? a.R - r0 : kRows;
  const std::byte* panel =
      a.panels + static_cast<size_t>(first / kPanelColumns) * panelBytes(kType, a.K);
  float sum[kRows][kColumns] = {};
  for (int group = 2 * warp + lane / kHalfWarp; group < a.K / kGroup; group += 2 * kWarps) {
    addGroup<kType, kRows>(a, panel, group, r0, rows, sum);
  }
  auto* shared = sharedMemory<float>();  // [kWarps][kRows][kPanelColumns]
  BATON_UNROLL
  for (int r = 0; r < kRows; ++r) {
    BATON_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      float total = sum[r][c];
      BATON_UNROLL
      for (int step = kWarp / 2; step > 1; step /= 2) {
        total += __shfl_xor_sync(kAllLanes, total, step);
      }
      if (lane < 2) shared[(warp * kRows + r) * kPanelColumns + columnOf(lane, c)] = total;
    }
  }
  __syncthreads();
  const int r = static_cast<int>(threadIdx.x) / kPanelColumns;
  const int n = first + static_cast<int>(threadIdx.x) % kPanelColumns;
  if (r >= rows || n >= n1) return;
  float total = 0;
  for (int w = 0; w < kWarps; ++w) {
    total += shared[(w * kRows + r) * kPanelColumns + n - first];
  }
  float& y = a.y[static_cast<size_t>(r0 + r) * static_cast<size_t>(a.ldy) + static_cast<size_t>(n)];
  y = a.accumulate ? y + total : total;
}

template <DType kType>
void launchLinearInt8(const LinearArgs& a, int n0, int n1) {
  constexpr int kMostRows = 4;
  const int rows = a.R == 1 ? 1 : kMostRows;
  const dim3 grid(blocksOf(static_cast<size_t>(n1 - n0), kPanelColumns),
                  blocksOf(static_cast<size_t>(a.R), static_cast<size_t>(rows)));
  const size_t shared = sizeof(float) * static_cast<size_t>(kWarps * rows * kPanelColumns);
  launch(rows == 1 ? linearInt8<kType, 1> : linearInt8<kType, kMostRows>, grid, kThreads, shared, a,
         n0, n1);
}

}  // namespace
}  // namespace cuda

void linearInt8Cuda(const LinearArgs& a, int n0, int n1) {
  const bool many = a.R > kFewRows || a.invariant;
  if (many && cuda::inFours(a.xq, kGroup) && cuda::inFours(a.panels, kGroup)) {
    return linearInt8TilesCuda(a, n0, n1);
  }
  withType(a.type, [&](auto known) {
    constexpr DType kType = decltype(known)::value;
    if constexpr (isInteger(kType)) cuda::launchLinearInt8<kType>(a, n0, n1);
  });
}

}  // namespace baton
