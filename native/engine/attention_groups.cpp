// SPDX-License-Identifier: Apache-2.0
#include "engine/attention_groups.h"

#include <map>
#include <utility>

namespace baton {

void AttentionGroups::make(const AttentionPlan& plan, int mostRows) {
  members.clear();
  groups.clear();
  rows = 0;
  places.assign(static_cast<size_t>(plan.tilePieceOffset.back()), {});
  // Readings by group, in the order in which tiles come; the group of a piece that still has room.
  std::vector<std::vector<Member>> readings;
  std::map<std::pair<const Segment*, std::pair<int, int>>, size_t> open;
  for (size_t t = 0; t < plan.tiles.size(); ++t) {
    const AttentionPlan::Tile& tile = plan.tiles[t];
    for (int p = tile.pieceBegin; p < tile.pieceEnd; ++p) {
      const AttentionPlan::Piece& piece = plan.pieces[static_cast<size_t>(p)];
      size_t group = readings.size();
      if (!piece.own) {
        const auto [found, isNew] =
            open.try_emplace({piece.segment, {piece.segmentRow, piece.rows}}, group);
        const Member* last = isNew ? nullptr : &readings[found->second].back();
        if (last != nullptr &&
            last->row + plan.tiles[static_cast<size_t>(last->tile)].rows + tile.rows <= mostRows) {
          group = found->second;
        }
        found->second = group;
      }
      if (group == readings.size()) readings.emplace_back();
      int row = 0;
      if (!readings[group].empty()) {
        const Member& last = readings[group].back();
        row = last.row + plan.tiles[static_cast<size_t>(last.tile)].rows;
      }
      readings[group].push_back({static_cast<int>(t), p, row});
      places[static_cast<size_t>(plan.tilePieceOffset[t] + p - tile.pieceBegin)] = {
          static_cast<int>(group), row};
    }
  }
  for (const std::vector<Member>& of : readings) {
    const auto begin = static_cast<int>(members.size());
    members.insert(members.end(), of.begin(), of.end());
    const int count = of.back().row + plan.tiles[static_cast<size_t>(of.back().tile)].rows;
    groups.push_back({begin, static_cast<int>(members.size()), count, rows});
    rows += count;
  }
}

}  // namespace baton
