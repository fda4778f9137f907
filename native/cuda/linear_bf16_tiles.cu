// SPDX-License-Identifier: Apache-2.0
// bf16 arithmetic of linear.h for many rows, by tensor cores: a block of threads for a tile of y, a
// warp for 32 rows of it. Both x and W lie as mma.sync wants them, along k; stages of 32 k go
// through shared memory, the next ones under way while one is multiplied. A number of y is added up
// in ascending k whatever the tile, so its bits hang on its row and column alone.
#include "cuda/lanes.cuh"
#include "cuda/mma.cuh"
#include "cuda/ops.h"
#include "cuda/tiles.cuh"

namespace baton {
namespace cuda {
namespace {

constexpr int kStageK = 32;
constexpr int kChunks = 4;  // of a row of a stage
constexpr int kChunkNumbers = 8;
constexpr int kWarpRows = 32;

// kRowWarps x kColumnWarps warps of 32 rows x kWarpColumns.
template <int kRowWarps_, int kColumnWarps_, int kWarpColumns_, int kStages_, int kBlocks_>
struct Shape {
  static constexpr int kRowWarps = kRowWarps_;
  static constexpr int kWarpColumns = kWarpColumns_;
  static constexpr int kStages = kStages_;
  static constexpr int kBlocks = kBlocks_;  // of a multiprocessor
  static constexpr int kThreads = kRowWarps_ * kColumnWarps_ * kWarp;
  static constexpr int kRows = kRowWarps_ * kWarpRows;
  static constexpr int kColumns = kColumnWarps_ * kWarpColumns_;
  static constexpr int kStageBytes = (kRows + kColumns) * kChunks * kChunkBytes;
};
struct Small : Shape<2, 2, 32, 4, 4> {};
struct Large : Shape<4, 2, 64, 3, 2> {};

// What one thread copies of each stage: chunks of rows of x, then of W.
template <class S>
struct Copier {
  static constexpr int kOfX = S::kRows * kChunks / S::kThreads;
  static constexpr int kOfW = S::kColumns * kChunks / S::kThreads;
  const uint16_t* from[kOfX + kOfW];
  bool there[kOfX + kOfW];

  // Rows from r0 and columns from n on.
  __device__ Copier(const LinearArgs& a, int r0, int n, int n1) {
    const auto* w = static_cast<const uint16_t*>(a.weight);
    BATON_UNROLL
    for (int i = 0; i < kOfX + kOfW; ++i) {
      const bool ofX = i < kOfX;
      const int index = (ofX ? i : i - kOfX) * S::kThreads + static_cast<int>(threadIdx.x);
      const Cell chunk = copiedChunk<kChunks>(index);
      const int row = (ofX ? r0 : n) + chunk.row;
      there[i] = row < (ofX ? a.R : n1);
      const auto k = static_cast<size_t>(chunk.column * kChunkNumbers);
      from[i] = (ofX ? a.xb : w) +
                (there[i] ? static_cast<size_t>(row) : 0) * static_cast<size_t>(a.K) + k;
    }
  }

  __device__ void copy(int step, std::byte* stage) const {
    BATON_UNROLL
    for (int i = 0; i < kOfX + kOfW; ++i) {
      const bool ofX = i < kOfX;
      const int index = (ofX ? i : i - kOfX) * S::kThreads + static_cast<int>(threadIdx.x);
      const Cell chunk = copiedChunk<kChunks>(index);
      std::byte* tile = stage + (ofX ? 0 : S::kRows * kChunks * kChunkBytes);
      copyAsync<16>(tile + chunkOffset<kChunks>(chunk.row, chunk.column),
                    from[i] + static_cast<size_t>(step) * kStageK, there[i]);
    }
  }
};

// What one warp adds up.
template <class S>
struct Sums {
  static constexpr int kDown = kWarpRows / 16;
  static constexpr int kAcross = S::kWarpColumns / 8;
  float at[kDown][kAcross][4] = {};

  // Of one stage; row, column: where those of the warp begin in the tile.
  __device__ void add(const std::byte* stage, int row, int column) {
    const Cell mine = loadedChunk(static_cast<int>(threadIdx.x) % kWarp);
    const std::byte* w = stage + S::kRows * kChunks * kChunkBytes;
    BATON_UNROLL
    for (int chunk = 0; chunk < kChunks; chunk += 2) {
      unsigned left[kDown][4];
      BATON_UNROLL
      for (int i = 0; i < kDown; ++i) {
        loadMatrices(left[i],
                     stage + chunkOffset<kChunks>(row + 16 * i + mine.row, chunk + mine.column));
      }
      BATON_UNROLL
      for (int j = 0; j < kAcross; j += 2) {
        unsigned right[4];
        loadMatrices(right,
                     w + chunkOffset<kChunks>(column + 8 * j + mine.row, chunk + mine.column));
        BATON_UNROLL
        for (int i = 0; i < kDown; ++i) {
          multiply<Bits16::kBfloat>(at[i][j], left[i], right[0], right[2]);
          multiply<Bits16::kBfloat>(at[i][j + 1], left[i], right[1], right[3]);
        }
      }
    }
  }

  // row, column: of y.
  __device__ void store(const LinearArgs& a, int row, int column, int n1) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    BATON_UNROLL
    for (int i = 0; i < kDown; ++i) {
      BATON_UNROLL
      for (int j = 0; j < kAcross; ++j) {
        BATON_UNROLL
        for (int c = 0; c < 4; ++c) {
          const Cell cell = sumCell(lane, c);
          const int r = row + 16 * i + cell.row, n = column + 8 * j + cell.column;
          if (r < a.R && n < n1) storeSum(a, r, n, at[i][j][c]);
        }
      }
    }
  }
};

// Blocks: (rows, columns), so that blocks of the same columns, which share W, run together.
template <class S>
__global__ void __launch_bounds__(S::kThreads, S::kBlocks)
    linearBf16Tiles(LinearArgs a, int n0, int n1) {
  const int r = static_cast<int>(blockIdx.x) * S::kRows;
  const int n = n0 + static_cast<int>(blockIdx.y) * S::kColumns;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int row = warp % S::kRowWarps * kWarpRows, column = warp / S::kRowWarps * S::kWarpColumns;
  auto* shared = sharedMemory<std::byte>();
  const Copier<S> copier(a, r, n, n1);
  const int steps = a.K / kStageK;
  for (int step = 0; step < S::kStages - 1; ++step) {
    if (step < steps) copier.copy(step, shared + step * S::kStageBytes);
    endCopies();
  }
  Sums<S> sums;
  for (int step = 0; step < steps; ++step) {
    waitForCopies<S::kStages - 2>();
    __syncthreads();  // this stage is there, and the one before has been read
    const int next = step + S::kStages - 1;
    if (next < steps) copier.copy(next, shared + next % S::kStages * S::kStageBytes);
    endCopies();
    sums.add(shared + step % S::kStages * S::kStageBytes, row, column);
  }
  sums.store(a, r + row, n + column, n1);
}

template <class S>
void launchTiles(const LinearArgs& a, int n0, int n1) {
  const dim3 grid(blocksOf(static_cast<size_t>(a.R), S::kRows),
                  blocksOf(static_cast<size_t>(n1 - n0), S::kColumns));
  launch(linearBf16Tiles<S>, grid, S::kThreads, S::kStages * S::kStageBytes, a, n0, n1);
}

}  // namespace
}  // namespace cuda

void linearBf16TilesCuda(const LinearArgs& a, int n0, int n1) {
  using cuda::Large, cuda::Small;
  // Large tiles read less, where they are enough for every multiprocessor to have one.
  constexpr size_t kEnough = 128;
  const size_t large = size_t{cuda::blocksOf(static_cast<size_t>(a.R), Large::kRows)} *
                       cuda::blocksOf(static_cast<size_t>(n1 - n0), Large::kColumns);
  large < kEnough ? cuda::launchTiles<Small>(a, n0, n1) : cuda::launchTiles<Large>(a, n0, n1);
}

}  // namespace baton
