// SPDX-License-Identifier: Apache-2.0
// linear of linear.h in float32, for weights as the file has them, and linearBf16: a warp for a
// column of y and some rows. Lane l takes eight numbers in a row from k = 8 l on, then from 256
// further, so that what it adds and when depends on the depth alone.
#include <type_traits>

#include "base/half.h"
#include "cuda/gemm.h"
#include "cuda/lanes.cuh"
#include "cuda/ops.h"
#include "cuda/weights.cuh"
#include "kernels/linear/types.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kEight = 8;
constexpr int kRows = 4;  // of a block

struct Eight {
  float at[kEight];
};

// Numbers k .. k + 7 of a row of K; those beyond its end are 0.
template <class Block, int kElements>
__device__ inline Eight eightOf(const Block* row, int k, int K) {
  Eight out;
  BATON_UNROLL
  for (int i = 0; i < kEight; ++i) {
    const int j = k + i;
    out.at[i] = j < K ? elementOf(row[j / kElements], j % kElements) : 0.0f;
  }
  return out;
}

// The same where all rows begin at 16 bytes and have whole eights.
__device__ inline Eight alignedEight(const Bfloat* row, int k) {
  const uint4 v = *reinterpret_cast<const uint4*>(row + k);
  const unsigned words[] = {v.x, v.y, v.z, v.w};
  Eight out;
  BATON_UNROLL
  for (int i = 0; i < kEight; i += 2) {
    out.at[i] = floatOfBits(words[i / 2] << 16);
    out.at[i + 1] = floatOfBits(words[i / 2] & 0xffff0000u);
  }
  return out;
}

__device__ inline Eight alignedEight(const float* row, int k) {
  const auto* fours = reinterpret_cast<const float4*>(row + k);
  const float4 a = fours[0], b = fours[1];
  return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}

// Activations: float32, or bfloat16 behind the same numbers.
template <class X>
struct Rows;
template <>
struct Rows<float> {
  __device__ static const float* of(const LinearArgs& a) { return a.x; }
};
template <>
struct Rows<Bfloat> {
  __device__ static const Bfloat* of(const LinearArgs& a) {
    return reinterpret_cast<const Bfloat*>(a.xb);
  }
};

// Blocks: (kWarps columns, kRows rows). kAligned: of W and X both, for types that have
// alignedEight.
template <class Block, int kElements, class X, bool kAligned>
__global__ void __launch_bounds__(kThreads, 6) linearFloat(LinearArgs a, int n0, int n1) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int n = n0 + static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (n >= n1) return;  // the whole warp
  const int r0 = static_cast<int>(blockIdx.y) * kRows;
  const int rows = a.R - r0 < kRows ? a.R - r0 : kRows;
  const auto K = static_cast<size_t>(a.K);
  const Block* w = static_cast<const Block*>(a.weight) + static_cast<size_t>(n) * (K / kElements);
  const X* x = Rows<X>::of(a) + static_cast<size_t>(r0) * K;
  float sum[kRows] = {};
  for (int k = kEight * lane; k < a.K; k += kEight * kWarp) {
    Eight weights;
    if constexpr (kAligned) {
      weights = alignedEight(w, k);
    } else {
      weights = eightOf<Block, kElements>(w, k, a.K);
    }
    BATON_UNROLL
    for (int r = 0; r < kRows; ++r) {
      if (r >= rows) break;
      const X* row = x + static_cast<size_t>(r) * K;
      Eight numbers;
      if constexpr (kAligned) {
        numbers = alignedEight(row, k);
      } else {
        numbers = eightOf<X, 1>(row, k, a.K);
      }
      BATON_UNROLL
      for (int i = 0; i < kEight; ++i) sum[r] = fmaf(weights.at[i], numbers.at[i], sum[r]);
    }
  }
  BATON_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const float total = overWarp(sum[r], Sum{});
    if (lane != 0 || r >= rows) continue;
    storeSum(a, r0 + r, n, total);
  }
}

using Kernel = void (*)(LinearArgs, int, int);

void launchLinear(Kernel kernel, const LinearArgs& a, int n0, int n1) {
  const dim3 grid(blocksOf(static_cast<size_t>(n1 - n0), kWarps),
                  blocksOf(static_cast<size_t>(a.R), kRows));
  launch(kernel, grid, kThreads, 0, a, n0, n1);
}

bool aligned(const void* first, int K) {
  return reinterpret_cast<uintptr_t>(first) % 16 == 0 && K % kEight == 0;
}

Kernel floatKernelOf(const LinearArgs& a) {
  const bool fast = aligned(a.weight, a.K) && aligned(a.x, a.K);
  return withRowsOf(a.type, [&](auto rows) -> Kernel {
    using Block = typename decltype(rows)::Block;
    constexpr int kElements = decltype(rows)::kElements;
    if constexpr (std::is_same_v<Block, float> || std::is_same_v<Block, Bfloat>) {
      if (fast) return linearFloat<Block, kElements, float, true>;
    }
    return linearFloat<Block, kElements, float, false>;
  });
}

}  // namespace
}  // namespace cuda

void linearCuda(const LinearArgs& a, int n0, int n1, void*) {
  if (n0 >= n1 || a.R == 0) return;
  if (a.xq != nullptr) return linearInt8Cuda(a, n0, n1);
  cuda::launchLinear(cuda::floatKernelOf(a), a, n0, n1);
}

void linearBf16Cuda(const LinearArgs& a, int n0, int n1, void*) {
  using cuda::Bfloat;
  if (n0 >= n1 || a.R == 0) return;
  const bool fast = cuda::aligned(a.weight, a.K) && cuda::aligned(a.xb, a.K);
  const bool many = a.R > kFewRows || a.invariant;
  const bool library = cuda::launchGemm != nullptr && many && !a.invariant;
  if (library && cuda::launchGemm->multiply(a, n0, n1)) return;
  if (fast && many && a.K % 32 == 0) return linearBf16TilesCuda(a, n0, n1);
  cuda::launchLinear(fast ? cuda::linearFloat<Bfloat, 1, Bfloat, true>
                          : cuda::linearFloat<Bfloat, 1, Bfloat, false>,
                     a, n0, n1);
}

}  // namespace baton
