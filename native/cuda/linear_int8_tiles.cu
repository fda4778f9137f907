// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic of linear.h for many rows, by tensor cores, over the panels of linear/panels.h: a
// block of threads for 64 rows of x and four panels, a warp for one panel. Two groups of 32 k at a
// time go through shared memory as they are stored, the next ones under way. Of the plane of four
// bits a word is of both halves of a panel, so lanes make words of eight bits as they need them:
// every warp those of its own panel. Dot products of groups are exact; they are scaled and added in
// ascending k whatever the tile.
#include "base/half.h"
#include "cuda/lanes.cuh"
#include "cuda/mma.cuh"
#include "cuda/ops.h"
#include "cuda/tiles.cuh"
#include "cuda/wide.cuh"
#include "kernels/linear/panels.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kPanels = 4;
constexpr int kThreads = kPanels * kWarp;
constexpr int kRows = 64;
constexpr int kDown = kRows / 16;
constexpr int kStageGroups = 2;
constexpr int kStages = 3;
constexpr int kChunks = kStageGroups * kGroup / kChunkBytes;  // of a row of x
constexpr int kRowsBytes = kRows * kChunks * kChunkBytes;
constexpr int kFactorsBytes = 2 * kStageGroups * kRows * 4;  // xd, then xs

// A group of a panel in shared memory: its scales, those of its block first, then its quants.
template <DType kType>
struct PanelGroup {
  static constexpr int kShared = blockGroups(kType) > 1 && kType != DType::kQ6_K ? 64
                                 : storesOffset(kType)                           ? 64
                                                                                 : 32;
  static constexpr int kOwn = blockGroups(kType) > 1 ? 32 : 0;
  static constexpr int kScales = kShared + kOwn;
  static constexpr int kBytes = kScales + static_cast<int>(panelGroupBytes(kType));
  static constexpr int kChunks = kBytes / kChunkBytes;

  // Where chunk `chunk` of group `group` of a panel is stored.
  __device__ static const std::byte* chunkOf(const std::byte* panel, int group, int chunk) {
    constexpr int kGroups = blockGroups(kType);
    const std::byte* block = panel + static_cast<size_t>(group / kGroups) * panelBlockBytes(kType);
    const int at = chunk * kChunkBytes, within = group % kGroups;
    if (at < kShared) return block + at;
    if (at < kScales) return block + kShared + within * kOwn + at - kShared;
    return block + panelScaleBytes(kType) + static_cast<size_t>(within) * panelGroupBytes(kType) +
           (at - kScales);
  }
};

template <DType kType>
constexpr int kStageBytes =
    kRowsBytes + kFactorsBytes + kPanels * kStageGroups * PanelGroup<kType>::kBytes;

template <DType kType>
struct Copier {
  using Group = PanelGroup<kType>;
  const LinearArgs& a;
  const int r0, n, n1;  // first row and column of the block; the end of columns

  __device__ void copy(int step, std::byte* stage) const {
    const int groups = a.K / kGroup, group0 = step * kStageGroups;
    BATON_UNROLL
    for (int i = 0; i < kRows * kChunks; i += kThreads) {
      const Cell chunk = copiedChunk<kChunks>(i + static_cast<int>(threadIdx.x));
      const int row = r0 + chunk.row, k = group0 * kGroup + chunk.column * kChunkBytes;
      const bool there = row < a.R && k < a.K;
      const size_t at =
          there ? static_cast<size_t>(row) * static_cast<size_t>(a.K) + static_cast<size_t>(k) : 0;
      copyAsync<16>(stage + chunkOffset<kChunks>(chunk.row, chunk.column), a.xq + at, there);
    }
    BATON_UNROLL
    for (int i = 0; i < kFactorsBytes / 4; i += kThreads) {
      const int index = i + static_cast<int>(threadIdx.x);
      const int row = r0 + index % kRows, group = group0 + index / kRows % kStageGroups;
      const float* from = index < kStageGroups * kRows ? a.xd : a.xs;
      const bool there = row < a.R && group < groups;
      const size_t at = there ? static_cast<size_t>(row) * static_cast<size_t>(groups) +
                                    static_cast<size_t>(group)
                              : 0;
      copyAsync<4>(stage + kRowsBytes + 4 * index, from + at, there);
    }
    constexpr int kAll = kPanels * kStageGroups * Group::kChunks;
    BATON_UNROLL_BY(2)
    for (int i = static_cast<int>(threadIdx.x); i < kAll; i += kThreads) {
      const int which = i / Group::kChunks, chunk = i % Group::kChunks;
      const int panel = which / kStageGroups, group = group0 + which % kStageGroups;
      const int first = n + panel * kPanelColumns;
      if (first >= n1 || group >= groups) continue;  // and is not used
      const std::byte* from =
          a.panels + static_cast<size_t>(first / kPanelColumns) * panelBytes(kType, a.K);
      copyAsync<16>(stage + kRowsBytes + kFactorsBytes + i * kChunkBytes,
                    Group::chunkOf(from, group, chunk));
    }
  }
};

__device__ inline unsigned wordAt(const std::byte* from) {
  return *reinterpret_cast<const unsigned*>(from);
}

// Right matrices of the two halves of a panel, 8 columns each: words of k = 4 (lane % 4) .. and of
// 16 further.
struct Quants {
  unsigned at[2][2];
};

template <DType kType>
__device__ inline Quants quantsAt(const std::byte* quants, int lane) {
  constexpr Planes kPlanes = planesOf(kType);
  const int column = lane / 4;
  Quants out;
  BATON_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int p = lane % 4 + 4 * half;  // which four k
    if constexpr (kPlanes.low == 8) {
      // Lanes 2 and 3 of four read the second half of the panel first, which is in other banks.
      const int swap = lane % 4 / 2;
      const std::byte* pair = quants + 2 * p * kPanelVectorBytes + 4 * column;
      const unsigned first = wordAt(pair + swap * kPanelVectorBytes);
      const unsigned second = wordAt(pair + (1 - swap) * kPanelVectorBytes);
      out.at[0][half] = swap != 0 ? second : first;
      out.at[1][half] = swap != 0 ? first : second;
    } else {
      const unsigned low = wordAt(quants + p * kPanelVectorBytes + 4 * column);
      out.at[0][half] = low & 0x0f0f0f0fu;
      out.at[1][half] = low >> 4 & 0x0f0f0f0fu;
    }
    if constexpr (kPlanes.high > 0) {
      constexpr int kEach = 8 / kPlanes.high / 2;  // fours of k in one row of the plane
      constexpr unsigned kMask = 0x01010101u * ((1u << kPlanes.high) - 1);
      const unsigned high =
          wordAt(quants + planeBytes(4) + p / kEach * kPanelVectorBytes + 4 * column);
      const int shift = p % kEach * 2 * kPlanes.high;
      out.at[0][half] |= (high >> shift & kMask) << 4;
      out.at[1][half] |= (high >> (shift + kPlanes.high) & kMask) << 4;
    }
    if constexpr (kType == DType::kQ6_K) {
      // Less 32, a byte at a time: with 128 on top nothing is borrowed from the next.
      BATON_UNROLL
      for (int h = 0; h < 2; ++h) {
        out.at[h][half] = ((out.at[h][half] | 0x80808080u) - 0x20202020u) ^ 0x80808080u;
      }
    }
  }
  return out;
}

// w = d q + c of two columns in one group, d of each section where they differ.
struct Scales {
  float d[2][2], c[2];
};

// `scales`: of the group; column: the first of the two in its panel.
template <DType kType>
__device__ inline Scales scalesAt(const std::byte* scales, int column) {
  const auto half = [&](int offset, int i) {
    return wideHalf(static_cast<uint16_t>(wordAt(scales + offset + 2 * column) >> 16 * i));
  };
  const auto byte = [&](int offset, int i) {
    return static_cast<uint8_t>(scales[offset + column + i]);
  };
  Scales out;
  BATON_UNROLL
  for (int i = 0; i < 2; ++i) {
    const float d = half(0, i);
    if constexpr (kType == DType::kQ6_K) {
      out.d[0][i] = d * static_cast<float>(static_cast<int8_t>(byte(32, i)));
      out.d[1][i] = d * static_cast<float>(static_cast<int8_t>(byte(48, i)));
      out.c[i] = 0;
    } else if constexpr (blockGroups(kType) > 1) {
      out.d[0][i] = d * static_cast<float>(byte(64, i));
      out.c[i] = -half(32, i) * static_cast<float>(byte(80, i));
    } else if constexpr (storesOffset(kType)) {
      out.d[0][i] = d;
      out.c[i] = half(32, i);
    } else {
      out.d[0][i] = d;
      out.c[i] = -centre(kType) * d;
    }
  }
  return out;
}

// Sums start at 1.5 * 2^23 read as an integer, so that with less than 2^22 added they are, read as
// a float, as much larger: one addition where a conversion takes several times as long.
constexpr int kZero = 0x4b400000;
__device__ inline float floatOfSum(int sum) {
  return floatOfBits(static_cast<uint32_t>(sum)) - 12582912.0f;
}

template <DType kType>
struct Sums {
  float at[kDown][2][4] = {};

  // One group; x: of the stage, chunk: where the group begins in its rows.
  __device__ void add(const std::byte* x, int chunk, const float* xd, const float* xs,
                      const std::byte* group) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const Cell mine = loadedChunk(lane);
    const Quants quants = quantsAt<kType>(group + PanelGroup<kType>::kScales, lane);
    const Scales scales[2] = {scalesAt<kType>(group, sumCell(lane, 0).column),
                              scalesAt<kType>(group, 8 + sumCell(lane, 0).column)};
    BATON_UNROLL
    for (int i = 0; i < kDown; ++i) {
      unsigned left[4];
      loadMatrices(left, x + chunkOffset<kChunks>(16 * i + mine.row, chunk + mine.column));
      BATON_UNROLL
      for (int h = 0; h < 2; ++h) {
        int dot[2][4] = {{kZero, kZero, kZero, kZero}, {kZero, kZero, kZero, kZero}};
        if constexpr (kType == DType::kQ6_K) {
          multiply(dot[0], left[0], left[1], quants.at[h][0]);
          multiply(dot[1], left[2], left[3], quants.at[h][1]);
        } else {
          multiply(dot[0], left, quants.at[h][0], quants.at[h][1]);
        }
        BATON_UNROLL
        for (int c = 0; c < 4; ++c) {
          const int row = 16 * i + sumCell(lane, c).row;
          float& sum = at[i][h][c];
          sum = fmaf(scales[h].d[0][c % 2] * xd[row], floatOfSum(dot[0][c]), sum);
          if constexpr (kType == DType::kQ6_K) {
            sum = fmaf(scales[h].d[1][c % 2] * xd[row], floatOfSum(dot[1][c]), sum);
          }
          if constexpr (!isSigned(kType)) sum = fmaf(scales[h].c[c % 2], xs[row], sum);
        }
      }
    }
  }

  __device__ void store(const LinearArgs& a, int r0, int first, int n1) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    BATON_UNROLL
    for (int i = 0; i < kDown; ++i) {
      BATON_UNROLL
      for (int h = 0; h < 2; ++h) {
        BATON_UNROLL
        for (int c = 0; c < 4; ++c) {
          const Cell cell = sumCell(lane, c);
          const int r = r0 + 16 * i + cell.row, n = first + 8 * h + cell.column;
          if (r < a.R && n < n1) storeSum(a, r, n, at[i][h][c]);
        }
      }
    }
  }
};

// Blocks: (rows, panels), so that blocks of the same panels run together.
template <DType kType>
__global__ void __launch_bounds__(kThreads, 3) linearInt8Tiles(LinearArgs a, int n0, int n1) {
  const int r0 = static_cast<int>(blockIdx.x) * kRows;
  const int n = n0 + static_cast<int>(blockIdx.y) * kPanels * kPanelColumns;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  auto* shared = sharedMemory<std::byte>();
  const Copier<kType> copier{a, r0, n, n1};
  const int groups = a.K / kGroup, steps = (groups + kStageGroups - 1) / kStageGroups;
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) copier.copy(step, shared + step * kStageBytes<kType>);
    endCopies();
  }
  Sums<kType> sums;
  for (int step = 0; step < steps; ++step) {
    waitForCopies<kStages - 2>();
    __syncthreads();  // this stage is there, and the one before has been read
    const int next = step + kStages - 1;
    if (next < steps) copier.copy(next, shared + next % kStages * kStageBytes<kType>);
    endCopies();
    const std::byte* stage = shared + step % kStages * kStageBytes<kType>;
    const auto* xd = reinterpret_cast<const float*>(stage + kRowsBytes);
    const std::byte* panel =
        stage + kRowsBytes + kFactorsBytes + warp * kStageGroups * PanelGroup<kType>::kBytes;
    BATON_UNROLL
    for (int g = 0; g < kStageGroups; ++g) {
      if (step * kStageGroups + g >= groups) break;
      sums.add(stage, 2 * g, xd + g * kRows, xd + (kStageGroups + g) * kRows,
               panel + g * PanelGroup<kType>::kBytes);
    }
  }
  sums.store(a, r0, n + warp * kPanelColumns, n1);
}

}  // namespace
}  // namespace cuda

void linearInt8TilesCuda(const LinearArgs& a, int n0, int n1) {
  using namespace cuda;
  const dim3 grid(blocksOf(static_cast<size_t>(a.R), kRows),
                  blocksOf(static_cast<size_t>(n1 - n0), kPanels * kPanelColumns));
  withType(a.type, [&](auto known) {
    constexpr DType kType = decltype(known)::value;
    if constexpr (isInteger(kType)) {
      launch(linearInt8Tiles<kType>, grid, kThreads, kStages * kStageBytes<kType>, a, n0, n1);
    }
  });
}

}  // namespace baton
