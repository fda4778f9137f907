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
//
// What several readers read is read once for all of them where that pays (slot_sharing.h).
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/attention.h"
#include "engine/attention_plan.h"
#include "engine/slot_sharing.h"

namespace baton {

// Rows of a tile of the plan, and blocks of an item at most: 512 rows, so that a short chain is one
// item that needs no merge, and one row behind a long context still has several blocks of threads
// for each kv head. Both are to be measured on a GPU.
inline constexpr int kSlotTileRows = 16;  // kFewRows of cuda/ops.h
inline constexpr int kWideTileRows = 64;  // where tensor cores attend (`halves`)
inline constexpr int kItemSlots = 32;

// Which items may be joined.
enum class Sharing : uint8_t {
  kNone,  // none, as backward's lists want it
  kFew,   // into ones of at most kSlotTileRows rows: no bit of a row changes
  kWide,  // into ones of at most kWideTileRows rows, which tensor cores attend (`halves`)
};

struct SlotOptions {
  int itemSlots = kItemSlots;
  Sharing sharing = Sharing::kNone;
  ShareGate gate{};
};

struct SlotPlan {
  std::vector<KvSlot> slots;
  std::vector<AttendItem> items;
  std::vector<AttendRow> rows;    // of shared items
  std::vector<StateList> lists;   // [R] by row of the result; count -1: a whole item writes it
  std::vector<int32_t> queryRow;  // [queryRows] whose copy each rotated query is
  int states = 0;                 // rows of partial states
  // Items of at most kSlotTileRows rows, which stand before all others; but not those that were
  // joined for tensor cores.
  int few = 0;
  int mostFew = 0;      // rows of one of these
  int tall = 0;         // items of more than kSlotTileRows rows of one reader
  int mostRows = 0;     // of an item
  bool merges = false;  // some row has partial states

  void make(const AttentionPlan& plan, const SlotOptions& options = {});

  // Items of no rows behind those of few rows and behind the others, so that there are as many as
  // `room` says for so many.
  void addIdleItems(size_t (*room)(size_t));

 private:
  void addSlots(const AttentionPlan::Piece& piece);
  void sortItems(Sharing sharing);
  void addTile(const AttentionPlan& plan, const AttentionPlan::Tile& tile, int itemSlots);

  std::vector<int32_t> pieceSlot_;  // [pieces + 1] first slot of each
  SlotSharing sharing_;
};

}  // namespace baton
