// SPDX-License-Identifier: Apache-2.0
// Contracts of attention on the device, where one launch does what the engine issues piece by piece
// on a CPU: append the rows of a step to the pool, attend all their views, merge what was split.
// Pointers are the device's, as in ops.h; lists are made once a step and serve every layer.
#pragma once

#include "kernels/rows.h"

namespace baton {

// Of the new rows of one layer: q and k normed per head where the model does so, k rotated and
// stored with v (kvStore of rows.h), q rotated once for each shift its row is read with.
struct KvAppendArgs {
  const float* q;  // [rows, H, D], row stride ldq
  int ldq;
  const float* k;  // [rows, G, D], row stride ldk
  int ldk;
  const float* v;  // [rows, G, D], row stride ldv
  int ldv;
  int rows, H, G, D;   // D is a multiple of 16, at most kMostHeadDim
  const float* qNorm;  // [D] weight of RMSNorm over each head, or null
  const float* kNorm;  // the same of k
  float epsilon;
  const float* cos;  // [P, D / 2]
  const float* sin;  // [P, D / 2]
  RopePairing pairing;
  const int32_t* keyPositions;  // [rows], |p| < P
  KvType kv;
  std::byte* kBase;               // K of this layer, kv head 0, block 0
  std::byte* vBase;               // the same of V
  size_t headStride;              // bytes from one kv head to the next
  size_t blockStride;             // bytes from one block to the next
  const int32_t* block;           // [rows]
  const int32_t* slot;            // [rows] row inside the block, 0 .. 15
  int queryRows;                  // rotated copies of rows of q
  const int32_t* queryRow;        // [queryRows] which row it is a copy of
  const int32_t* queryPositions;  // [queryRows] to which it is rotated, |p| < P
  float* rotated;                 // [queryRows, H, D]
};
void kvAppendCuda(const KvAppendArgs& args);

// A block of the pool as one view reads it.
struct KvSlot {
  int32_t block;
  int32_t position;  // of its first row, in the reader's frame
  int16_t rows;      // rows that may be read, 1 .. 16
  int16_t causal;    // 1: the reader's own segment, of which a row reads up to its own position
};

// Some slots as consecutive rows of q read them: one piece of the work of a step. Rows of several
// shifts are several items, and so are parts of a long list. An item without rows is idle.
struct AttendItem {
  int32_t slotBegin, slotEnd;
  int32_t queryRow, rows;  // of q, rotated for these slots
  int32_t position;        // of the first of them, in the reader's frame
  int32_t state;  // the first of its states; of a `whole` item, the first row of the result
  int32_t whole;  // 1: no other item reads for these rows, so the result is final
  // 1: rows of anywhere, of several readers: those of the list of AttendRows from `queryRow` on,
  // which have the positions and states. None of the slots is causal, and it is not whole.
  int32_t shared = 0;
};

// A row of a shared item. Positions of an item's rows do not descend.
struct AttendRow {
  int32_t query;     // of q, rotated for the item's slots
  int32_t position;  // where it stands, counted as the item's slots are
  int32_t state;
};

// Attention of items over their slots, for all heads (attend.h says which numbers). A row reads
// those rows of a slot that are there, not after it where the slot is causal, and less than
// `window` positions before it where there is a window. Whatever it does not read may be NaN. The
// bits of a row's state hang on that row and its slots alone and, with `halves`, on whether its
// item stands before `few`. Those from there on are then attended by tensor cores, 64 queries at
// a time: heads of a group side by side, rows behind one another. Their products are of 16-bit
// numbers, as attendBf16 of attend.h has them, of KV in f16 float16; heads of 64, 128 and 256
// numbers, KV that is not float32. Where something that a tile reads is not finite, it is attended
// in float32.
struct AttendSlotsArgs {
  const float* q;  // [query rows, H, D]
  int H, G, D;     // D is a multiple of 16, at most kMostHeadDim
  float scale;     // 1 / sqrt(D) usually
  int window;      // 0: none
  KvType kv;
  const std::byte* k;  // of this layer, kv head 0, block 0; at 16 bytes, as all blocks are
  const std::byte* v;
  size_t headStride, blockStride;  // bytes
  const KvSlot* slots;
  const AttendItem* items;
  int mostRows;  // of an item
  float* o;      // [states, H, D] states, not normalised
  float* m;      // [states, H]
  float* d;      // [states, H]
  float* out;    // [R, H, D] what whole items write, normalised: 0 where nothing is read
  float* lse;    // [R, H], or null: -inf where nothing is read
  bool halves = false;
  int few = 0;      // with `halves`: items that are attended in float32: they stand first,
  int mostFew = 0;  // and the most rows of one of these
  const AttendRow* rows = nullptr;  // of shared items
};
void attendSlotsCuda(const AttendSlotsArgs& args, int item0, int item1);
// Of it, items from `few` on; says whether they are of a kind that it takes.
bool attendTilesCuda(const AttendSlotsArgs& args, int item0, int item1);
// That kind.
constexpr bool takesHalves(KvType kv, int D) {
  return kv != KvType::kF32 && (D == 64 || D == 128 || D == 256);
}

// The partial states of one row of the result: `count` of them, from `first` on in steps of `step`.
// Below 0: there are none, the row is a whole item's and stays as it is.
struct StateList {
  int32_t first, step, count;
};

// Softmax states (attend.h), normalised o with the logarithm of their denominators: for row r and
// head h, over the states i of lists[r] with M = max m_i,
//   out = sum o_i e^(m_i - M) / D,  D = sum d_i e^(m_i - M),  lse = M + log D.
// A state with m = -inf has read nothing and may hold anything; where all are so, out is 0 and lse
// -inf. States are added in the order of the list, so the bits of a row hang on its list alone.
struct MergeStatesArgs {
  const float* o;          // [states, H, D]
  const float* m;          // [states, H]
  const float* d;          // [states, H]
  const StateList* lists;  // [R]
  int H, D;
  float* out;  // [R, H, D]
  float* lse;  // [R, H], or null
};
void mergeStatesCuda(const MergeStatesArgs& args, int r0, int r1);

}  // namespace baton
