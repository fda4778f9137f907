// SPDX-License-Identifier: Apache-2.0
// dLinear of dlinear.h in float32, whatever `bf16` allows: a block for a tile of rows and 64
// columns of dX. Of W and dY 32 n at a time are in shared memory, W dequantised; a thread has four
// columns of some rows, each a chain over n in chunks of its own, so that a number has the same
// bits in any tile.
#include "cuda/lanes.cuh"
#include "cuda/ops.h"
#include "cuda/weights.cuh"
#include "kernels/linear/types.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kColumns = 64;  // of a tile
constexpr int kStep = 32;     // n in shared memory
constexpr int kEight = 8;     // numbers of W that a thread dequantises
constexpr int kRowGroups = kThreads / (kColumns / 4);
static_assert(kStep * kColumns == kEight * kThreads && kDLinearChunk % kStep == 0);

// Rows of dY in shared memory have four numbers more, so that those of one n spread over banks.
constexpr int stride(int tileRows) {
  return tileRows + 4;
}

constexpr size_t sharedBytes(int tileRows) {
  return sizeof(float) * static_cast<size_t>(kStep * (kColumns + stride(tileRows)));
}

// W[n0 .. n0 + kStep, k0 .. k0 + kColumns) to w [kStep, kColumns]; what is not there is 0.
template <class Block, int kElements>
__device__ inline void unpackTile(const DLinearArgs& a, int n0, int k0, float* w) {
  const int at = kEight * static_cast<int>(threadIdx.x);
  const int n = n0 + at / kColumns, first = k0 + at % kColumns;
  const Block* row = static_cast<const Block*>(a.weight) +
                     static_cast<size_t>(n) * (static_cast<size_t>(a.K) / kElements);
  const auto unpack = [&](int i) {
    const int k = first + i;
    w[at + i] = n < a.N && k < a.K ? elementOf(row[k / kElements], k % kElements) : 0.0f;
  };
  if constexpr (kElements < 256) {
    BATON_UNROLL
    for (int i = 0; i < kEight; ++i) unpack(i);
  } else {  // all at once would not fit into registers beside the sums
    BATON_UNROLL_BY(1)
    for (int i = 0; i < kEight; ++i) unpack(i);
  }
}

// dY[r0 .. r0 + kTileRows, n0 .. n0 + kStep) to dy [kStep, stride], transposed.
template <int kTileRows>
__device__ inline void loadRows(const DLinearArgs& a, int r0, int n0, float* dy) {
  for (int at = static_cast<int>(threadIdx.x); at < kTileRows * kStep; at += kThreads) {
    const int r = r0 + at / kStep, n = n0 + at % kStep;
    dy[at % kStep * stride(kTileRows) + at / kStep] =
        r < a.R && n < a.N
            ? a.dy[static_cast<size_t>(r) * static_cast<size_t>(a.ldy) + static_cast<size_t>(n)]
            : 0.0f;
  }
}

// kRows: of a thread.
template <class Block, int kElements, int kRows>
__global__ void __launch_bounds__(kThreads, 2) dLinear(DLinearArgs a, int first, int end) {
  constexpr int kTileRows = kRows * kRowGroups;
  float* w = sharedMemory<float>();
  float* dy = w + kStep * kColumns;
  const int k0 = first + static_cast<int>(blockIdx.x) * kColumns;
  const int r0 = static_cast<int>(blockIdx.y) * kTileRows;
  const int column = 4 * (static_cast<int>(threadIdx.x) % (kColumns / 4));
  const int row = kRows * (static_cast<int>(threadIdx.x) / (kColumns / 4));
  float total[kRows][4] = {};
  for (int chunk = 0; chunk < a.N; chunk += kDLinearChunk) {
    float sum[kRows][4] = {};
    const int last = chunk + kDLinearChunk < a.N ? chunk + kDLinearChunk : a.N;
    for (int n0 = chunk; n0 < last; n0 += kStep) {
      __syncthreads();  // the tiles before have been read
      unpackTile<Block, kElements>(a, n0, k0, w);
      loadRows<kTileRows>(a, r0, n0, dy);
      __syncthreads();
      BATON_UNROLL_BY(8)
      for (int n = 0; n < kStep; ++n) {
        const float4 weights = *reinterpret_cast<const float4*>(w + n * kColumns + column);
        BATON_UNROLL
        for (int i = 0; i < kRows; ++i) {
          const float d = dy[n * stride(kTileRows) + row + i];
          sum[i][0] = fmaf(d, weights.x, sum[i][0]);
          sum[i][1] = fmaf(d, weights.y, sum[i][1]);
          sum[i][2] = fmaf(d, weights.z, sum[i][2]);
          sum[i][3] = fmaf(d, weights.w, sum[i][3]);
        }
      }
    }
    BATON_UNROLL
    for (int i = 0; i < kRows; ++i) {
      BATON_UNROLL
      for (int j = 0; j < 4; ++j) total[i][j] += sum[i][j];
    }
  }
  BATON_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const int r = r0 + row + i;
    if (r >= a.R) break;
    float* dx = a.dx + static_cast<size_t>(r) * static_cast<size_t>(a.ldx);
    BATON_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int k = k0 + column + j;
      if (k < end) dx[k] = a.accumulate ? dx[k] + total[i][j] : total[i][j];
    }
  }
}

template <class Block, int kElements, int kRows>
void launchTiles(const DLinearArgs& a, int k0, int k1) {
  constexpr int kTileRows = kRows * kRowGroups;
  const dim3 grid(blocksOf(static_cast<size_t>(k1 - k0), kColumns),
                  blocksOf(static_cast<size_t>(a.R), kTileRows));
  launch(dLinear<Block, kElements, kRows>, grid, kThreads, sharedBytes(kTileRows), a, k0, k1);
}

template <class Block, int kElements>
void launchRows(const DLinearArgs& a, int k0, int k1) {
  if (a.R <= kRowGroups) return launchTiles<Block, kElements, 1>(a, k0, k1);
  launchTiles<Block, kElements, 4>(a, k0, k1);
}

}  // namespace
}  // namespace cuda

void dLinearCuda(const DLinearArgs& a, int k0, int k1, void*) {
  if (k0 >= k1 || a.R == 0) return;
  cuda::withRowsOf(a.type, [&](auto rows) {
    using Rows = decltype(rows);
    cuda::launchRows<typename Rows::Block, Rows::kElements>(a, k0, k1);
  });
}

}  // namespace baton
