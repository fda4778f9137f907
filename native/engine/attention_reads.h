// SPDX-License-Identifier: Apache-2.0
// What the rows of a plan read, counted: what attention costs.
#pragma once

#include "engine/attention_plan.h"

namespace baton {

struct AttentionReads {
  double pairs = 0;     // of a row and a row that it reads
  int64_t keyRows = 0;  // rows of K and V that are read, those of several readers once
};

// In a layer with that window (0: none).
AttentionReads attentionReads(const AttentionPlan& plan, int window);

// Pairs of a tile and rows [row, row + count) of a piece.
double pairsOf(const AttentionPlan::Tile& tile, const AttentionPlan::Piece& piece, int window,
               int row, int count);

}  // namespace baton
