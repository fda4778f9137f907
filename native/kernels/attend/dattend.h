// SPDX-License-Identifier: Apache-2.0
// Backward of attention for Q query vectors over one piece (at most kPieceRows rows) of one KV
// interval, for one kv head (FlashAttention-2, arXiv 2307.08691, algorithm 2, one piece at a time).
// With the logarithm of the softmax's denominator over the whole view kept by the forward,
//   p_ij  = exp(scale * q_i . K_j - lse_i),
//   dp_ij = dout_i . V_j,
//   ds_ij = p_ij * (dp_ij - delta_i) * scale,        first_i <= j < visible_i,
//   dAttendQuery:  dq_i += sum_j ds_ij K_j;
//   dAttendKey:    dk_j += sum_i ds_ij q_i,  dv_j += sum_i p_ij dout_i.
// Two ops, because the rows of frozen segments are read by queries but need no gradient.
//
// Everything is in the interval's frame: q comes rotated for it, dq leaves in its rotation and has
// to be turned back (rope at the negated position), dk is in the frame that K was written in.
//
// K and V lie in blocks as attend.h says. Rows that no query of the call reads may hold anything,
// NaN included, and influence no bit; dk and dv of such rows may be read and written back but do
// not change. Sums are one chain that starts with what stands in dq, dk or dv and ascends in j or
// in i; where a query does not read a row that another one reads, a zero is added. So the bits of
// dq_i do not depend on the other queries (but for the sign of a zero), and queries may be handed
// over in calls of any sizes: only their order counts for dk and dv.
//
// With `bf16` a kernel may round both factors of every product to bfloat16 first (to nearest even;
// subnormal numbers may count as zeros), or not, as its instructions are: q, dout, K and V (of int8
// the stored numbers, which are exact), p where it meets dout, and ds where it meets q and, of int8
// times the scale of K's row, K. Scores are then what attendBf16 has in the forward. Sums are
// float32 as ever, dq's by pairs of rows, those of dk and dv by pairs of the call's queries, so
// that it must be cut behind an even number of queries to leave the bits of dk and dv as they are.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "kernels/attend/attend.h"

namespace baton {

struct DAttendArgs {
  const float* const* q;     // [Q] pointers to query vectors [D], rotated for this interval
  const float* const* dout;  // [Q] pointers to gradients [D] of the normalised attention output
  const float* lse;    // [Q] m + log(d) of the whole view (attend.h, merged), natural logarithm
  const float* delta;  // [Q] dout . out
  int Q;               // 1 .. kMaxQueries
  int D;               // multiple of 16, at most 256
  float scale;         // as in the forward
  KvType kv;
  const std::byte* k;  // K of this layer and kv head in block 0; block b is at k + b * blockStride
  const std::byte* v;  // the same for V
  size_t blockStride;  // bytes
  const int32_t* blocks;   // [ceil(max visible / 16)] block numbers of the piece
  const int32_t* visible;  // [Q] the query reads no row of the piece from here on, 0 .. kPieceRows
  // [Q] first row that the query reads, 0 .. kPieceRows; null: 0 for all. At or beyond `visible`
  // the query reads nothing.
  const int32_t* first;
  float* scratch;       // dAttendScratchFloats(D) floats, 64-byte aligned
  float* const* dq;     // dAttendQuery: [Q] pointers to [D], no two the same
  float* dk = nullptr;  // dAttendKey: [max visible, D], row stride ldk; row 0 is row 0 of the piece
  float* dv = nullptr;  // the same
  int ldk = 0;
  bool bf16 = false;
};

// Rows whose ds dAttendQuery holds at a time.
inline constexpr int kDAttendRows = 64;

static constexpr size_t dAttendScratchFloats(int D) {
  // In float32: K and V of a block with a row in each lane, K of kDAttendRows as rows, ds of all
  // queries (in dAttendKey p and ds of a block). In bfloat16: K and V of kDAttendRows, q and dout
  // of all queries, in dAttendKey twice, and there p and ds. It takes more.
  return static_cast<size_t>(kDAttendRows + 2 * kMaxQueries) * static_cast<size_t>(D) +
         static_cast<size_t>(kDAttendRows * kMaxQueries);
}

using DAttendFn = void (*)(const DAttendArgs& args);

// Floating-point operations for one pair of a query and a row that it reads.
static constexpr double dAttendQueryFlops(int D) {
  return 6.0 * D;
}
static constexpr double dAttendKeyFlops(int D) {
  return 8.0 * D;
}

}  // namespace baton
