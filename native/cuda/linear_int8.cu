// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic of linear.h for few rows, weights in the panels of linear/panels.h as on a CPU: a
// block for one panel, 16 columns of W (int8_panel.cuh). Warps take groups in turn, two at a time;
// sums over lanes and warps are made once, at the end, in an order that the depth alone decides.
#include "cuda/int8_panel.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

// Blocks: (panel, kRows rows).
template <DType kType, int kRows>
__global__ void __launch_bounds__(kThreads, kRows == 1 ? 4 : 2)
    linearInt8(LinearArgs a, int n0, int n1) {
  const int first = n0 + static_cast<int>(blockIdx.x) * kPanelColumns;
  const int r0 = static_cast<int>(blockIdx.y) * kRows;
  const int rows = a.R - r0 < kRows ? a.R - r0 : kRows;
  const std::byte* panel =
      a.panels + static_cast<size_t>(first / kPanelColumns) * panelBytes(kType, a.K);
  auto* shared = sharedMemory<float>();  // [kWarps][kRows][kPanelColumns]
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  addPanel<kType, kRows>({a.xq, a.xd, a.xs, a.K}, panel, r0, rows, kWarps,
                         shared + warp * kRows * kPanelColumns);
  __syncthreads();
  const int r = static_cast<int>(threadIdx.x) / kPanelColumns;
  const int n = first + static_cast<int>(threadIdx.x) % kPanelColumns;
  if (r >= rows || n >= n1) return;
  float total = 0;
  for (int w = 0; w < kWarps; ++w) {
    total += shared[(w * kRows + r) * kPanelColumns + n - first];
  }
  storeSum(a, r0 + r, n, total);
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
