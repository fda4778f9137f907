// SPDX-License-Identifier: Apache-2.0
#include "engine/attention_reads.h"

#include <algorithm>
#include <map>
#include <utility>

namespace baton {

AttentionReads attentionReads(const AttentionPlan& plan, int window) {
  AttentionReads reads;
  // First and last row read of each piece of a segment, over all tiles.
  std::map<std::pair<const Segment*, int>, std::pair<int32_t, int32_t>> rows;
  for (const AttentionPlan::Tile& tile : plan.tiles) {
    for (int p = tile.pieceBegin; p < tile.pieceEnd; ++p) {
      const AttentionPlan::Piece& piece = plan.pieces[static_cast<size_t>(p)];
      int32_t first[kMaxQueries], visible[kMaxQueries];
      if (!AttentionPlan::range(tile, piece, window, 1, first, visible)) continue;
      auto& span = rows.try_emplace({piece.segment, piece.segmentRow}, kPieceRows, 0).first->second;
      for (int i = 0; i < tile.rows; ++i) {
        if (first[i] >= visible[i]) continue;
        reads.pairs += visible[i] - first[i];
        span.first = std::min(span.first, first[i]);
        span.second = std::max(span.second, visible[i]);
      }
    }
  }
  for (const auto& [piece, span] : rows) reads.keyRows += std::max(0, span.second - span.first);
  return reads;
}

double pairsOf(const AttentionPlan::Tile& tile, const AttentionPlan::Piece& piece, int window,
               int row, int count) {
  int32_t first[kMaxQueries], visible[kMaxQueries];
  if (!AttentionPlan::range(tile, piece, window, 1, first, visible)) return 0;
  double pairs = 0;
  for (int i = 0; i < tile.rows; ++i) {
    pairs += std::max(0, std::min(visible[i], row + count) - std::max(first[i], row));
  }
  return pairs;
}

}  // namespace baton
