// SPDX-License-Identifier: Apache-2.0
// Attention of Q query vectors over one piece (at most kPieceRows rows) of one KV interval, for one
// kv head: the unnormalised softmax state (o, m, d) of Milakov & Gimelshein (arXiv 1805.02867);
// pieces merge in view order (merge.h).
//   s_j = scale * q . K_j,  m = max_j s_j,  d = sum_j exp(s_j - m),  o = sum_j exp(s_j - m) V_j,
//   over first <= j < visible.
//
// KV layout of a block of 16 rows, per layer and kv head: K transposed, [D, 16] (one lane a row, so
// that scores need no horizontal sums); V as rows, [16, D]; of int8, each followed by the scales of
// the 16 rows in float16. Rows before `first` and at or beyond
// `visible` may hold anything, NaN included, and must not influence a bit of the result. The bits
// for one query do not depend on Q or on the other queries.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace baton {

// What this thread will attend after this, as far as is known: a hint, for prefetching.
struct AttendNext {
  const std::byte* k = nullptr;  // of its kv head in block 0
  const std::byte* v = nullptr;
  const int32_t* blocks = nullptr;  // [count]
  int count = 0;
};

struct AttendArgs {
  const float* const* q;  // [Q] pointers to query vectors [D], rotated for this interval
  int Q;                  // 1 .. kMaxQueries
  int D;                  // multiple of 16, at most 256
  float scale;            // 1 / sqrt(D) usually
  KvType kv;
  const std::byte* k;  // K of this layer and kv head in block 0; block b is at k + b * blockStride
  const std::byte* v;  // the same for V
  size_t blockStride;  // bytes
  const int32_t* blocks;   // [ceil(max visible / 16)] block numbers of the piece
  const int32_t* visible;  // [Q] the query reads no row of the piece from here on, 0 .. kPieceRows
  float* o;                // [Q, D]
  float* m;                // [Q]  -inf where no row is read
  float* d;                // [Q]
  float* scores;           // scratch [Q, kPieceRows], 64-byte aligned
  // [Q] first row that the query reads, 0 .. kPieceRows; null: 0 for all. At or beyond `visible`
  // the query reads nothing.
  const int32_t* first = nullptr;
  void* pairs = nullptr;  // attendBf16: scratch [attendPairsBytes(D)], 64-byte aligned
  AttendNext next = {};
};

// Most query vectors of one call: rows of a tile times heads of a group.
inline constexpr int kMaxQueries = 64;

using AttendFn = void (*)(const AttendArgs& args);

// attendBf16 is the same with products of bfloat16 summed in float32: q, K and V are rounded to
// bfloat16 (of int8 the stored numbers, which are exact), and so are the weights e^(s_j - m), of
// int8 times the scale of V's row, before they meet V. m and d are not rounded. Where a row of V
// that some query reads holds Inf or NaN, float32 takes the whole call.
constexpr size_t attendPairsBytes(int D) {  // K and V of a piece, and the queries
  return static_cast<size_t>(2 * kPieceRows + kMaxQueries) * static_cast<size_t>(D) *
         sizeof(uint16_t);
}

// Merges the state (o, m, d) of a later piece into an accumulated one:
//   m' = max(m1, m2);  d' = d1 e^(m1-m') + d2 e^(m2-m');  o' likewise. -inf on both sides stays
//   empty (d = 0, o = 0).
struct MergeArgs {
  float* o;         // [D] accumulated
  float* m;         // one value
  float* d;         // one value
  const float* o2;  // [D] the later piece
  float m2, d2;
  int D;
};
using MergeFn = void (*)(const MergeArgs& args);

}  // namespace baton
