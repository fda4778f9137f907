// SPDX-License-Identifier: Apache-2.0
// fewRows of few_rows.h: a block of threads for one panel, 16 columns of one layer, or the same 16
// of gate and up. Each makes the quants of all rows in its shared memory first, with the sums that
// rmsnorm.cu makes.
#include "cuda/few_rows.h"

#include "cuda/int8_group.cuh"
#include "cuda/int8_panel.cuh"
#include "cuda/norm.cuh"
#include "cuda/ops.h"
#include "cuda/units.cuh"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kRowShares = kMostRowThreads / kThreads;  // threads of rmsnorm.cu that one stands for
constexpr size_t kMostShared = size_t{48} << 10;

// In shared memory: sums [units][kWarps][kRows][16], then scales, sums and quants of the rows.
constexpr size_t sumFloats(int kRows, GatedUnit unit) {
  return static_cast<size_t>((unit == GatedUnit::kNone ? 1 : 2) * kWarps * kRows * kPanelColumns);
}
constexpr size_t quantBytes(int R, int K) {
  return static_cast<size_t>(R) * (static_cast<size_t>(K) + 2 * sizeof(float) * (K / kGroup));
}

// 1 / sqrt(mean(x^2) + epsilon), in the order of rmsnorm.cu. `sums`: a float for each of its warps.
__device__ inline float scaleOf(const float* x, int K, float epsilon, float* sums) {
  const int threads = threadsOfRow(K);
  const auto M = static_cast<size_t>(K);
  __syncthreads();  // whoever used `sums` before has read it
  BATON_UNROLL
  for (int share = 0; share < kRowShares; ++share) {
    const int thread = static_cast<int>(threadIdx.x) + share * kThreads;
    float squares = 0;
    if (thread < threads) {
      for (size_t i = size_t{4} * static_cast<size_t>(thread); i < M;
           i += size_t{4} * static_cast<size_t>(threads)) {
        const float4 v = loadFour<true>(x, i, M);
        squares += dot(v, v);
      }
    }
    squares = overWarp(squares, Sum{});
    if (threadIdx.x % kWarp == 0) sums[thread / kWarp] = squares;
  }
  __syncthreads();
  float total = sums[0];
  for (int w = 1; w < threads / kWarp; ++w) total += sums[w];
  return 1.0f / sqrtf(total / static_cast<float>(K) + epsilon);
}

// Eight lanes have a group of 32. All lanes go round as often, because they exchange numbers.
__device__ inline void quantise(const FewRowsArgs& a, int row, int8_t* q, float* d, float* s,
                                float* sums) {
  constexpr int kLanes = kGroup / 4;
  const auto K = static_cast<size_t>(a.layers[0].K);
  const float* x = a.x + static_cast<size_t>(row) * K;
  const float scale = a.norm == nullptr ? 1.0f : scaleOf(x, a.layers[0].K, a.epsilon, sums);
  for (size_t first = 0; first < K; first += size_t{4} * kThreads) {
    const size_t i = first + size_t{4} * threadIdx.x;
    const bool inRow = i < K;  // of all numbers of a group, or of none
    float4 v = make_float4(0, 0, 0, 0);
    if (inRow) v = loadFour<true>(x, i, K);
    if (inRow && a.norm != nullptr) v = scaled(v, scale, loadFour<true>(a.norm, i, K));
    const float most = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
    const Int8Group group(overLanes<kLanes>(most, Largest{}));
    const int quants[] = {group.quant(v.x), group.quant(v.y), group.quant(v.z), group.quant(v.w)};
    const int sum = overLanes<kLanes>(quants[0] + quants[1] + quants[2] + quants[3], Sum{});
    if (!inRow) continue;
    BATON_UNROLL
    for (size_t j = 0; j < 4; ++j) q[i + j] = static_cast<int8_t>(quants[j]);
    if (threadIdx.x % kLanes != 0) continue;
    d[i / kGroup] = group.d;
    s[i / kGroup] = group.d * static_cast<float>(sum);
  }
}

template <int kRows>
__device__ inline void addPanelOf(const LinearArgs& layer, int panel, const QuantRows& rows, int R,
                                  float* sums) {
  const auto add = [&](auto known) {
    constexpr DType kType = decltype(known)::value;
    addPanel<kType, kRows>(rows,
                           layer.panels + static_cast<size_t>(panel) * panelBytes(kType, layer.K),
                           0, R, kWarps, sums);
  };
  switch (layer.type) {
    case DType::kQ8_0:
      return add(TypeIs<DType::kQ8_0>{});
    case DType::kQ4_0:
      return add(TypeIs<DType::kQ4_0>{});
    case DType::kQ4_1:
      return add(TypeIs<DType::kQ4_1>{});
    case DType::kQ5_0:
      return add(TypeIs<DType::kQ5_0>{});
    case DType::kQ5_1:
      return add(TypeIs<DType::kQ5_1>{});
    case DType::kQ4_K:
      return add(TypeIs<DType::kQ4_K>{});
    case DType::kQ5_K:
      return add(TypeIs<DType::kQ5_K>{});
    case DType::kQ6_K:
      return add(TypeIs<DType::kQ6_K>{});
    default:
      return;  // fewRowsCuda has refused it
  }
}

// The sum over warps of row r and column n of the panel.
template <int kRows>
__device__ inline float totalOf(const float* sums, int r, int n) {
  float total = 0;
  for (int w = 0; w < kWarps; ++w) total += sums[(w * kRows + r) * kPanelColumns + n];
  return total;
}

// Blocks: panels of all layers, one layer after the other; of a gated unit those of the first.
template <int kRows>
__global__ void __launch_bounds__(kThreads, kRows == 1 ? 3 : 2) fewRows(FewRowsArgs a) {
  const int R = a.layers[0].R, K = a.layers[0].K;
  auto* sums = sharedMemory<float>();
  const bool gated = a.unit != GatedUnit::kNone;
  constexpr int kEach = kRows * kPanelColumns;  // floats of a warp
  QuantRows rows{a.layers[0].xq, a.layers[0].xd, a.layers[0].xs, K};
  if (a.x != nullptr) {
    auto* d = sums + (gated ? 2 : 1) * kWarps * kEach;
    auto* s = d + R * (K / kGroup);
    auto* q = reinterpret_cast<int8_t*>(s + R * (K / kGroup));
    for (int r = 0; r < R; ++r) {
      const size_t group = static_cast<size_t>(r) * static_cast<size_t>(K / kGroup);
      quantise(a, r, q + group * kGroup, d + group, s + group, sums);
    }
    rows = {q, d, s, K};
    __syncthreads();
  }
  int panel = static_cast<int>(blockIdx.x), layer = 0;
  while (!gated && panel >= panelCount(a.layers[layer].N)) panel -= panelCount(a.layers[layer++].N);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  BATON_UNROLL_BY(1)
  for (int part = 0; part < (gated ? 2 : 1); ++part) {
    addPanelOf<kRows>(a.layers[layer + part], panel, rows, R,
                      sums + (part * kWarps + warp) * kEach);
  }
  __syncthreads();
  const int r = static_cast<int>(threadIdx.x) / kPanelColumns;
  const int column = static_cast<int>(threadIdx.x) % kPanelColumns;
  const int n = panel * kPanelColumns + column;
  const LinearArgs& to = a.layers[layer];
  if (r >= R || n >= to.N) return;
  float total = totalOf<kRows>(sums, r, column);
  if (gated) {
    const float up = totalOf<kRows>(sums + kWarps * kEach, r, column);
    total = (a.unit == GatedUnit::kGeglu ? gelu(total) : silu(total)) * up;
  }
  storeSum(to, r, n, total);
}

bool takes(const FewRowsArgs& a) {
  const LinearArgs& first = a.layers[0];
  if (first.R < 1 || first.R > kMostFusedRows || a.count > FewRowsArgs::kMostLayers) return false;
  for (int i = 0; i < a.count; ++i) {
    const LinearArgs& layer = a.layers[i];
    if (layer.panels == nullptr || !isInteger(layer.type) || layer.invariant ||
        layer.K != first.K || !inFours(layer.panels, kGroup)) {
      return false;
    }
  }
  if (a.x == nullptr) return true;
  return inFours(a.x, first.K) && (a.norm == nullptr || inFours(a.norm, first.K));
}

}  // namespace
}  // namespace cuda

bool fewRowsCuda(const FewRowsArgs& a) {
  const LinearArgs& first = a.layers[0];
  if (!cuda::takes(a)) return false;
  const int kernelRows = first.R == 1 ? 1 : kMostFusedRows;
  size_t shared = sizeof(float) * cuda::sumFloats(kernelRows, a.unit);
  if (a.x != nullptr) shared += cuda::quantBytes(first.R, first.K);
  if (shared > cuda::kMostShared) return false;
  int panels = 0;
  for (int i = 0; i < (a.unit == GatedUnit::kNone ? a.count : 1); ++i)
    panels += panelCount(a.layers[i].N);
  cuda::launch(kernelRows == 1 ? cuda::fewRows<1> : cuda::fewRows<kMostFusedRows>,
               dim3(static_cast<unsigned>(panels)), cuda::kThreads, shared, a);
  return true;
}

}  // namespace baton
