// SPDX-License-Identifier: Apache-2.0
// Backward of linear.h with respect to x: dX[R, K] (+)= dY[R, N] W[N, K]. W is frozen, so there is
// no gradient of it anywhere.
//
// float32 arithmetic on exactly dequantised weights, whatever arithmetic the forward used. With
// `bf16` a kernel may round both factors of every product to bfloat16 first (to nearest even;
// subnormal numbers may count as zeros), or not, as its instructions are: a product is off by at
// most 2^-8 of itself, and sums are float32 as ever. The sum over n ascends, in bf16 by the pairs
// or the 32 n of an instruction; a kernel may cut it into chunks at fixed n, sum each by itself and
// add the sums in order, so that N = 200,000 (an output head) loses no digits. Hence the bits of a
// row of dX depend on nothing but that row of dY, W, and with `accumulate` what stood there: not on
// R, on the columns of a call, or on threads.
#pragma once

#include <cstddef>

#include "base/dtype.h"

namespace baton {

struct DLinearArgs {
  const void* weight;  // [N, K] rows of DType `type`, as in the file
  DType type;
  int N, K;         // K is a multiple of the type's block
  const float* dy;  // [R, N], row stride ldy
  int ldy;
  float* dx;  // [R, K], row stride ldx
  int ldx;
  int R;
  bool accumulate;  // dx += instead of dx =
  bool bf16 = false;
};

// What a call's first column is a multiple of: a place at which work can be cut for workers.
inline constexpr int kDLinearColumns = 64;
// Rows of W that are summed by themselves.
inline constexpr int kDLinearChunk = 128;
// Columns of W that are dequantised together, and rows of dY that are copied together.
inline constexpr int kDLinearTile = 32;
inline constexpr int kDLinearRows = 192;
inline constexpr int kDLinearRowsBf16 = 2 * kDLinearRows;  // as many bytes

// Computes columns [k0, k1) of all R rows; k0 is a multiple of kDLinearColumns, k1 is one or is K.
// `scratch`: dLinearScratchBytes(), 64-byte aligned, private to the calling worker.
using DLinearFn = void (*)(const DLinearArgs& args, int k0, int k1, void* scratch);

// A tile of a chunk of W as float32, and of dY what meets it; bfloat16 takes less.
static constexpr size_t dLinearScratchBytes() {
  return static_cast<size_t>(kDLinearTile + kDLinearRows) * kDLinearChunk * sizeof(float);
}

static constexpr double dLinearFlops(const DLinearArgs& a) {
  return 2.0 * a.R * a.N * a.K;
}

}  // namespace baton
