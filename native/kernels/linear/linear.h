// SPDX-License-Identifier: Apache-2.0
// y[R, N] (+)= x[R, K] W[N, K]^T, with W in its file format.
//
// Three arithmetics. float32: weights are dequantised exactly and products are float32 FMAs.
//
// bf16 (Ops::linearBf16, xb given; type BF16 only, K a multiple of 32): activations come rounded to
// bfloat16 and weights are what the file has, so that products are exact in float32 and the sums
// alone round, once for each product or pair. Subnormal numbers may count as zero. F16 and F32
// weights stay float32: they would have to be rounded to bfloat16's eight bits themselves.
//
// int8 (xq given; types with QuantType::unpack only): activations come quantised per group of 32; a
// weight group is read as integers q with a scale d for each section of 16 and one offset c (w = d
// q + c), so
//   y = sum over groups of  xd * (sum over sections of d * dot(q, xq)) + c * xs,
//   xs = xd * sum(xq).
// The dot products of a section are exact. Where both sections have one scale (all types but Q6_K)
// kernels take them as one. How q is read is the kernel's choice where several are exact: Q8_0 is
// signed with c = 0, or s + 128 with c = -128 d.
// Reduction order: groups of 32 in ascending k; what of a group is added first is a matter of the
// instruction in bf16, in pairs of ascending k in the reference. The bits of a row of y depend on
// nothing but that row of x and W, so R = 1 and R = 512 agree; in float32 only with `invariant`:
// without it a kernel may take another order for few rows (GEMV).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace baton {

struct LinearArgs {
  const void* weight;       // [N, K] rows of DType `type`, as in the file
  const std::byte* panels;  // the same in panels (panels.h): what int8 arithmetic of vectors reads
  DType type;
  int N, K;          // K is a multiple of the type's block
  const float* x;    // [R, K] float32 arithmetic, or null
  const int8_t* xq;  // [R, K] int8 arithmetic, or null
  const float* xd;   // [R, K / 32] scale of each activation group
  const float* xs;   // [R, K / 32] scale times sum of the group's quants
  float* y;          // [R, N], row stride ldy
  int ldy;
  int R;
  bool accumulate;  // y += instead of y = (the residual stream)
  bool invariant;
  const uint16_t* xb = nullptr;  // [R, K] bfloat16: bf16 arithmetic, x and xq are null
};

// Computes columns [n0, n1) of all R rows; n0 is a multiple of 16. `scratch`:
// linearScratchBytes(K), 64-byte aligned, private to the calling worker.
using LinearFn = void (*)(const LinearArgs& args, int n0, int n1, void* scratch);

// Enough for a 16-column panel of dequantised float32 weights of one K, with its scales.
static constexpr size_t linearScratchBytes(int K) {
  return static_cast<size_t>(16) * static_cast<size_t>(K) * 4 +
         static_cast<size_t>(16) * (K / 32 + 1) * 8 + 256;
}

static constexpr double linearFlops(const LinearArgs& a) {
  return 2.0 * a.R * a.N * a.K;
}

}  // namespace baton
