// SPDX-License-Identifier: Apache-2.0
#include "engine/slot_backward.h"

#include <algorithm>

namespace baton {
namespace {

// Whether a use goes on where another one ends, of the same block read in the same frame.
bool follows(const KeyUse& use, const KeyUse& before) {
  return use.queryRow == before.queryRow + before.rows &&
         use.batchRow == before.batchRow + before.rows &&
         use.position == before.position + before.rows && use.slot.position == before.slot.position;
}

}  // namespace

void SlotBackward::make(const AttentionPlan& plan, const SlotPlan& slots, const Batch& batch_,
                        const std::vector<const Segment*>& others, int partRows) {
  addItems(plan, slots);
  live_.clear();
  for (const Run& run : batch_.runs) live_.push_back({run.segment, run.batchRow, {}});
  for (const Segment* segment : others) live_.push_back({segment, 0, {}});
  for (const AttentionPlan::Tile& tile : plan.tiles) {
    for (int p = tile.pieceBegin; p < tile.pieceEnd; ++p)
      addUses(plan, tile, plan.pieces[static_cast<size_t>(p)], partRows);
  }
  uses.clear();
  parts.clear();
  targets.clear();
  outside.clear();
  batch = addTargets(0, batch_.runs.size(), partRows);
  for (size_t i = batch_.runs.size(); i < live_.size(); ++i)
    outside.push_back(addTargets(i, i + 1, partRows));
}

// Items of one tile stand together.
void SlotBackward::addItems(const AttentionPlan& plan, const SlotPlan& slots) {
  items.clear();
  positions.clear();
  lists.assign(static_cast<size_t>(plan.rows), {});
  mostRows = slots.mostRows;
  for (const AttendItem& item : slots.items) {
    const int batchRow = slots.queryRow[static_cast<size_t>(item.queryRow)];
    const auto state = static_cast<int32_t>(positions.size());
    items.push_back(
        {item.slotBegin, item.slotEnd, item.queryRow, item.rows, item.position, batchRow, state});
    for (int row = 0; row < item.rows; ++row) {
      positions.push_back(-plan.queryPositions[static_cast<size_t>(item.queryRow + row)]);
      StateList& list = lists[static_cast<size_t>(batchRow + row)];
      if (list.count++ == 0) list.first = state + row, list.step = item.rows;
    }
  }
  states = static_cast<int>(positions.size());
}

// The rows of a tile that read each block of a piece, behind those of the tile before.
void SlotBackward::addUses(const AttentionPlan& plan, const AttentionPlan::Tile& tile,
                           const AttentionPlan::Piece& piece, int partRows) {
  const auto found = std::find_if(live_.begin(), live_.end(),
                                  [&](const Live& one) { return one.segment == piece.segment; });
  if (found == live_.end()) return;  // frozen
  const int queries = plan.rotations[static_cast<size_t>(piece.rotation)].queryRow + tile.runRow;
  for (int row = 0; row < piece.rows; row += kBlockRows) {
    const int segmentRow = piece.segmentRow + row;
    // Of its own segment, the tile's rows from this block on.
    const int first = piece.own ? std::max(0, segmentRow - tile.segmentRow) : 0;
    if (first >= tile.rows) break;
    const auto at = static_cast<size_t>(segmentRow / kBlockRows);
    if (found->blocks.size() <= at) found->blocks.resize(at + 1);
    std::vector<KeyUse>& readers = found->blocks[at];
    KeyUse use{{piece.blocks[row / kBlockRows], piece.position + row,
                static_cast<int16_t>(std::min(kBlockRows, piece.rows - row)),
                static_cast<int16_t>(piece.own ? 1 : 0)},
               queries + first,
               tile.rows - first,
               tile.position + first,
               tile.batchRow + first};
    if (!readers.empty() && follows(use, readers.back()) &&
        readers.back().rows + use.rows <= partRows) {
      readers.back().rows += use.rows;
    } else {
      readers.push_back(use);
    }
  }
}

SlotBackward::Range SlotBackward::addTargets(size_t liveBegin, size_t liveEnd, int partRows) {
  Range range{static_cast<int>(parts.size()), 0, static_cast<int>(targets.size()), 0};
  for (size_t i = liveBegin; i < liveEnd; ++i) {
    for (size_t block = 0; block < live_[i].blocks.size(); ++block) {
      const std::vector<KeyUse>& readers = live_[i].blocks[block];
      if (readers.empty()) continue;
      KeyTarget target{static_cast<int32_t>(parts.size()), 0,
                       live_[i].row + static_cast<int32_t>(block) * kBlockRows, 0};
      int rows = partRows;
      for (const KeyUse& use : readers) {
        if (rows + use.rows > partRows) {
          parts.push_back({static_cast<int32_t>(uses.size()), 0});
          rows = 0;
        }
        rows += use.rows;
        uses.push_back(use);
        parts.back().useEnd = static_cast<int32_t>(uses.size());
        target.rows = std::max<int32_t>(target.rows, use.slot.rows);
      }
      target.partEnd = static_cast<int32_t>(parts.size());
      targets.push_back(target);
    }
  }
  range.partEnd = static_cast<int>(parts.size());
  range.targetEnd = static_cast<int>(targets.size());
  return range;
}

}  // namespace baton
