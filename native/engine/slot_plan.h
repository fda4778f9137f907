// SPDX-License-Identifier: Apache-2.0
// A batch's views as a device attends them (cuda/attention.h): the same plan as on a CPU
// (attention_plan.h), its pieces as blocks of the pool, and items that each read some consecutive
// blocks of one shift for the rows of a tile. Made once a step, for all layers.
//
// Where a view is cut into items is a law of the view alone: from the first block of a shift on,
// every kItemSlots blocks, in view order. Rows of the own segment only ever append, so a row reads
// the same blocks in each of its items whatever batch it stands in; and has the same bits, where
// tiles have kSlotTileRows rows. In larger ones the number of rows beside it decides what attends
// it.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/attention.h"
#include "engine/attention_plan.h"

namespace baton {

// Rows of a tile of the plan, and blocks of an item at most: 512 rows, so that a short chain is one
// item that needs no merge, and one row behind a long context still has several blocks of threads
// for each kv head. Both are to be measured on a GPU.
inline constexpr int kSlotTileRows = 16;  // kFewRows of cuda/ops.h
inline constexpr int kWideTileRows = 64;  // where tensor cores attend (`halves`)
inline constexpr int kItemSlots = 32;

struct SlotPlan {
  std::vector<KvSlot> slots;
  std::vector<AttendItem> items;
  std::vector<StateList> lists;   // [R] by row of the result; count -1: a whole item writes it
  std::vector<int32_t> queryRow;  // [queryRows] whose copy each rotated query is
  int states = 0;                 // rows of partial states
  int few = 0;          // items of at most kSlotTileRows rows: they stand before all others
  int mostFew = 0;      // rows of one of these
  int mostRows = 0;     // of an item
  bool merges = false;  // some row has partial states

  void make(const AttentionPlan& plan, int itemSlots = kItemSlots);

  // Items of no rows behind the others, up to so many in all. Where all are of few rows.
  void addIdleItems(size_t upTo);

 private:
  void addSlots(const AttentionPlan::Piece& piece);
  void sortItems();
  void addTile(const AttentionPlan& plan, const AttentionPlan::Tile& tile, int itemSlots);

  std::vector<int32_t> pieceSlot_;  // [pieces + 1] first slot of each
};

}  // namespace baton
