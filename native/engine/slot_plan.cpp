// SPDX-License-Identifier: Apache-2.0
#include "engine/slot_plan.h"

#include <algorithm>

namespace baton {

void SlotPlan::make(const AttentionPlan& plan, const SlotOptions& options) {
  slots.clear();
  items.clear();
  rows.clear();
  states = few = mostFew = tall = mostRows = 0;
  merges = false;
  lists.assign(static_cast<size_t>(plan.rows), {});
  queryRow.clear();
  for (const AttentionPlan::Rotation& rotation : plan.rotations) {
    for (int i = 0; i < rotation.count; ++i) queryRow.push_back(rotation.batchRow + i);
  }
  pieceSlot_.assign(1, 0);
  for (const AttentionPlan::Piece& piece : plan.pieces) addSlots(piece);
  for (const AttentionPlan::Tile& tile : plan.tiles) addTile(plan, tile, options.itemSlots);
  if (options.sharing != Sharing::kNone) {
    const int most = options.sharing == Sharing::kWide ? kWideTileRows : kSlotTileRows;
    sharing_.join(slots, kSlotTileRows, most, options.gate, items, rows);
  }
  sortItems(options.sharing);
}

void SlotPlan::addIdleItems(size_t (*room)(size_t)) {
  const auto first = static_cast<size_t>(few), rest = items.size() - first;
  items.insert(items.begin() + few, room(first) - first, AttendItem{});
  items.resize(room(first) + room(rest), AttendItem{});
  few = static_cast<int>(room(first));
}

// Items of a row that are not shared stay in their order: a tile's have as many rows as each other.
void SlotPlan::sortItems(Sharing sharing) {
  const auto border = std::stable_partition(items.begin(), items.end(), [&](const AttendItem& one) {
    return one.rows <= kSlotTileRows && (one.shared == 0 || sharing == Sharing::kFew);
  });
  few = static_cast<int>(border - items.begin());
  for (auto item = items.begin(); item != border; ++item) mostFew = std::max(mostFew, item->rows);
  for (const AttendItem& item : items) mostRows = std::max(mostRows, item.rows);
  tall = static_cast<int>(
      std::count_if(border, items.end(), [](const AttendItem& one) { return one.shared == 0; }));
}

void SlotPlan::addSlots(const AttentionPlan::Piece& piece) {
  for (int row = 0; row < piece.rows; row += kBlockRows) {
    slots.push_back({piece.blocks[row / kBlockRows], piece.position + row,
                     static_cast<int16_t>(std::min(kBlockRows, piece.rows - row)),
                     static_cast<int16_t>(piece.own ? 1 : 0)});
  }
  pieceSlot_.push_back(static_cast<int32_t>(slots.size()));
}

void SlotPlan::addTile(const AttentionPlan& plan, const AttentionPlan::Tile& tile, int itemSlots) {
  const auto pieceOf = [&](int p) -> const AttentionPlan::Piece& {
    return plan.pieces[static_cast<size_t>(p)];
  };
  // The last piece is the segment's own, of which the tile sees no block behind its last row.
  const int seen = tile.segmentRow + tile.rows - pieceOf(tile.pieceEnd - 1).segmentRow;
  const int end =
      pieceSlot_[static_cast<size_t>(tile.pieceEnd - 1)] + (seen + kBlockRows - 1) / kBlockRows;
  const size_t first = items.size();
  for (int p = tile.pieceBegin; p < tile.pieceEnd;) {
    const int rotation = pieceOf(p).rotation;
    int last = p + 1;
    while (last < tile.pieceEnd && pieceOf(last).rotation == rotation) ++last;
    const int slotEnd = last == tile.pieceEnd ? end : pieceSlot_[static_cast<size_t>(last)];
    const int queries = plan.rotations[static_cast<size_t>(rotation)].queryRow + tile.runRow;
    for (int slot = pieceSlot_[static_cast<size_t>(p)]; slot < slotEnd; slot += itemSlots) {
      items.push_back(
          {slot, std::min(slotEnd, slot + itemSlots), queries, tile.rows, tile.position, 0, 0, 0});
    }
    p = last;
  }
  const auto parts = static_cast<int>(items.size() - first);
  for (int row = 0; row < tile.rows; ++row) {
    lists[static_cast<size_t>(tile.batchRow + row)] = {states + row, tile.rows,
                                                       parts == 1 ? -1 : parts};
  }
  if (parts == 1) {
    items[first].whole = 1;
    items[first].state = tile.batchRow;
    return;
  }
  merges = true;
  for (int part = 0; part < parts; ++part, states += tile.rows) {
    items[first + static_cast<size_t>(part)].state = states;
  }
}

}  // namespace baton
