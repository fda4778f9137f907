// SPDX-License-Identifier: Apache-2.0
// What the calls of the kernels cost (base/cost.h), for the trace and the benchmarks of kernels:
// every array that a call reads or writes once, and the arithmetic of its formula.
#pragma once

#include "base/cost.h"
#include "kernels/ops.h"
#include "quant/types.h"

namespace baton {

inline double floatBytes(double rows, double columns) {
  return 4.0 * rows * columns;
}

// Bytes of a weight [N, K] as it lies in the file.
inline double weightBytes(DType type, int N, int K) {
  return static_cast<double>(quantRowBytes(quantType(type), int64_t{N} * K));
}

// Weights and results of R rows; what is multiplied with them is shared by several calls.
inline Cost linearCost(const LinearArgs& a) {
  const double reads = a.accumulate ? 2 : 1;
  const double flops = linearFlops(a);
  return {0, weightBytes(a.type, a.N, a.K) + reads * floatBytes(a.R, a.N), flops,
          a.xq == nullptr ? 0 : flops, a.xb == nullptr ? 0 : flops};
}

// How a linear reads its activations (linear.h).
enum class ActivationForm : uint8_t { kFloat32, kBf16, kInt8 };

inline ActivationForm formOf(const LinearArgs& a) {
  return a.xq != nullptr   ? ActivationForm::kInt8
         : a.xb != nullptr ? ActivationForm::kBf16
                           : ActivationForm::kFloat32;
}

// Of the R rows [R, K] that linears read: float32, bfloat16, or int8 with scale and sum of each
// group.
inline Cost activationCost(int R, int K, ActivationForm form) {
  const double each = form == ActivationForm::kInt8   ? 1 + 8.0 / kGroup
                      : form == ActivationForm::kBf16 ? 2
                                                      : 4;
  return {R, each * R * K, 0, 0};
}

inline Cost embedCost(const EmbedArgs& a, int R) {
  return {R, weightBytes(a.type, R, a.M) + floatBytes(R, a.M), static_cast<double>(R) * a.M, 0};
}

// Per element: the square and its sum, the scale, the weight; per row a division, a sum, a root.
inline Cost rmsnormCost(const RmsNormArgs& a, int R) {
  const double arrays = a.accumulate ? 3 : 2;
  return {R, arrays * floatBytes(R, a.M) + floatBytes(1, a.M),
          (a.accumulate ? 5.0 : 4.0) * R * a.M + 3.0 * R, 0};
}

inline Cost addBiasCost(const AddBiasArgs& a, int R) {
  return {R, 2 * floatBytes(R, a.N) + floatBytes(1, a.N), static_cast<double>(R) * a.N, 0};
}

// Per element: magnitude into the maximum, the scale, the sum.
inline Cost quantizeCost(const QuantizeArgs& a, int R) {
  Cost cost = activationCost(R, a.K, ActivationForm::kInt8);
  cost.bytes += floatBytes(R, a.K);
  cost.flops = 3.0 * R * a.K;
  return cost;
}

// The normed rows are written only where they are asked for, and never read.
inline Cost rmsnormQuantizeCost(const RmsNormQuantizeArgs& a, int R) {
  Cost cost = activationCost(R, a.M, ActivationForm::kInt8);
  cost.bytes += floatBytes(a.y == nullptr ? R : 2 * R, a.M) + floatBytes(1, a.M);
  cost.flops = 7.0 * R * a.M + 3.0 * R;
  return cost;
}

inline Cost toBf16Cost(const ToBf16Args& a, int R) {
  Cost cost = activationCost(R, a.K, ActivationForm::kBf16);
  cost.bytes += floatBytes(R, a.K);
  cost.flops = static_cast<double>(R) * a.K;
  return cost;
}

// Four products and two sums for each pair, with its cosine and sine.
inline Cost ropeCost(const RopeArgs& a, int R) {
  return {R, 2 * floatBytes(R, double(a.heads) * a.D) + floatBytes(R, a.D), 3.0 * R * a.heads * a.D,
          0};
}

inline Cost kvStoreCost(const KvStoreArgs& a, int R) {
  const double count = 2.0 * R * a.G * a.D;
  const double stored = 2.0 * R * a.G * double(kvHeadBytes(a.kv, a.D)) / kBlockRows;
  return {R, 4 * count + stored, 0, 0};
}

// act(gate) * up: SwiGLU's exponential, sum, division and product; GeGLU adds its cubic.
inline double gluFlops(int F, int R, bool gelu) {
  return (gelu ? 9.0 : 5.0) * R * F;
}

inline Cost gluCost(const GluArgs& a, int R, bool gelu) {
  return {R, 3 * floatBytes(R, a.F), gluFlops(a.F, R, gelu), 0};
}

// Gate and up in one with the activation, of R rows: what it takes beyond linearCost of both. They
// are not read again; where they are not `kept` they need not reach memory either. The result is
// float32 or, `quantised`, int8.
inline Cost gateUpCost(int F, int R, bool gelu, bool kept, bool quantised) {
  Cost cost{0, kept ? 0 : -2 * floatBytes(R, F), gluFlops(F, R, gelu), 0};
  const auto form = quantised ? ActivationForm::kInt8 : ActivationForm::kFloat32;
  cost.bytes += activationCost(R, F, form).bytes;
  if (quantised) cost.flops += 3.0 * R * F;
  return cost;
}

inline Cost dLinearCost(const DLinearArgs& a) {
  const double writes = a.accumulate ? 2 : 1;
  return {a.R, weightBytes(a.type, a.N, a.K) + floatBytes(a.R, a.N) + writes * floatBytes(a.R, a.K),
          dLinearFlops(a), 0};
}

// Twice what the forward computes for each element, and the sum over a row.
inline Cost dRmsnormCost(const DRmsNormArgs& a, int R) {
  const double arrays = a.accumulate ? 4 : 3;
  return {R, arrays * floatBytes(R, a.M) + floatBytes(1, a.M), 9.0 * R * a.M, 0};
}

inline Cost dGluCost(const DGluArgs& a, int R, bool gelu) {
  return {R, 5 * floatBytes(R, a.F), (gelu ? 18.0 : 10.0) * R * a.F, 0};
}

// Maximum, difference, exponential, sum; with a gradient its scale and the label's one.
inline Cost crossEntropyCost(const CrossEntropyArgs& a, int R) {
  const bool gradient = a.scale != nullptr;
  return {R, (gradient ? 2 : 1) * floatBytes(R, a.V), (gradient ? 5.0 : 4.0) * R * a.V, 0};
}

// Squares and their sum, a dozen for both moments and the value.
inline Cost adamWCost(const AdamWArgs& a) {
  return {0, 8 * floatBytes(1, a.n), 22.0 * a.n, 0};
}

// Scores and weighted values of `pairs` of a query head and a row that it reads.
inline double attendFlops(double pairs, int D) {
  return 4.0 * pairs * D;
}

}  // namespace baton
