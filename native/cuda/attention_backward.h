// SPDX-License-Identifier: Apache-2.0
// Contracts of attention's backward on the device (kernels/attend/dattend.h says which numbers),
// over the lists that the forward attends (attention.h) and over their transpose: which rows of a
// batch read a block. Every sum has one order and no two threads add to one number, so two runs of
// a step have the same bits. float32 throughout.
//
// What comes out of a launch are parts, one for each item or each part of a block's readers, and a
// second one adds them up: a query's where several items read for it, a block's where very many
// rows read it, as they do a prompt.
#pragma once

#include "cuda/attention.h"
#include "kernels/rows.h"

namespace baton {

// delta = dout . out of a head.
struct DAttendDeltaArgs {
  const float* dout;  // [R, H, D]
  const float* out;   // [R, H, D] what the forward left
  int H, D;
  float* delta;  // [R, H]
};
void dAttendDeltaCuda(const DAttendDeltaArgs& args, int r0, int r1);

// An item of the forward, with where its rows and their gradients are.
struct DAttendItem {
  int32_t slotBegin, slotEnd;
  int32_t queryRow, rows;  // of q, rotated for these slots
  int32_t position;        // of the first of them, in the reader's frame
  int32_t batchRow;        // the first of them in dout, lse and delta
  int32_t state;           // the first of its rows of dq
};

// Consecutive rows of q that read one block of the pool.
struct KeyUse {
  KvSlot slot;
  int32_t queryRow, rows;
  int32_t position;  // of the first of them, in the reader's frame
  int32_t batchRow;
};

// Some of the uses of one block: one piece of the work of a step.
struct KeyPart {
  int32_t useBegin, useEnd;
};

// What both passes read. Whatever no row reads may be NaN.
struct DAttendSlotsArgs {
  const float* q;      // [query rows, H, D]
  const float* dout;   // [R, H, D]
  const float* lse;    // [R, H]
  const float* delta;  // [R, H]
  int H, G, D;         // D is a multiple of 16, at most kMostHeadDim
  float scale;
  int window;  // 0: none
  KvType kv;
  const std::byte* k;  // of this layer, kv head 0, block 0; at 16 bytes, as all blocks are
  const std::byte* v;
  size_t headStride, blockStride;  // bytes
  const KvSlot* slots;
  const DAttendItem* items;
  int mostRows;  // of an item
  float* dq;     // [states, H, D] of an item's rows, in the frame of q
  const KeyUse* uses;
  const KeyPart* parts;
  float* dk;  // [parts, 16, G, D] of a block's rows, in the frame that K was written in
  float* dv;  // the same
};
// Everything of dq that items have, everything of dk and dv that parts have.
void dAttendQueriesCuda(const DAttendSlotsArgs& args, int item0, int item1);
void dAttendKeysCuda(const DAttendSlotsArgs& args, int part0, int part1);

// Gradients of q before the rotation: for row r, over the states i of lists[r],
//   dq[r] = sum R(positions[i]) part[i],
// where positions are negated ones of q.
struct DAttendTurnArgs {
  const float* part;         // [states, H, D]
  const int32_t* positions;  // [states], |p| < P
  const StateList* lists;    // [R], count is not below 0
  int H, D;
  const float* cos;  // [P, D / 2]
  const float* sin;  // [P, D / 2]
  RopePairing pairing;
  float* dq;  // [R, H, D]
};
void dAttendTurnCuda(const DAttendTurnArgs& args, int r0, int r1);

// A block that has gradients: the first of its rows in dk and dv, and its parts.
struct KeyTarget {
  int32_t partBegin, partEnd;
  int32_t row, rows;
};

// Rows of dk and dv += the sum of their parts.
struct DAttendGatherArgs {
  const float* partK;  // [parts, 16, width]
  const float* partV;
  const KeyTarget* targets;
  int width;  // G * D
  float* dk;  // [rows, width]
  float* dv;
};
void dAttendGatherCuda(const DAttendGatherArgs& args, int target0, int target1);

}  // namespace baton
