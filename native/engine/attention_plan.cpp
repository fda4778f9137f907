// SPDX-License-Identifier: Apache-2.0
#include "engine/attention_plan.h"

#include <algorithm>

namespace baton {

void AttentionPlan::make(const Batch& batch, int tileRows) {
  rotations.clear();
  pieces.clear();
  tiles.clear();
  queryPositions.clear();
  keyPositions.clear();
  keyBlock.clear();
  keySlot.clear();
  queryRows = 0;
  rows = batch.rows;
  for (const Run& run : batch.runs) addRun(run, tileRows);
  tilePieceOffset.assign(1, 0);
  for (const Tile& tile : tiles)
    tilePieceOffset.push_back(tilePieceOffset.back() + tile.pieceEnd - tile.pieceBegin);
}

void AttentionPlan::addRun(const Run& run, int tileRows) {
  const size_t firstRotation = rotations.size();
  const int pieceBegin = static_cast<int>(pieces.size());
  for (const SegmentRead& read : *run.reads) {
    addPieces(*read.segment, read.rows, false, read.segment->start() + read.shift,
              rotationFor(run, firstRotation, read.shift));
  }
  const int ownPieces = static_cast<int>(pieces.size());
  const int start = run.segment->start();
  addPieces(*run.segment, run.firstRow + run.count, true, start,
            rotationFor(run, firstRotation, 0));

  for (int row = 0; row < run.count; row += tileRows) {
    const int count = std::min(tileRows, run.count - row);
    const int seen = run.firstRow + row + count;  // own rows that the tile's last row reads
    const int pieceEnd = ownPieces + (seen + kPieceRows - 1) / kPieceRows;
    tiles.push_back({run.batchRow + row, count, row, run.firstRow + row, start + run.firstRow + row,
                     pieceBegin, pieceEnd});
  }
  for (int row = 0; row < run.count; ++row) {
    const int segmentRow = run.firstRow + row;
    keyPositions.push_back(start + segmentRow);
    keyBlock.push_back(run.segment->blocks()[segmentRow / kBlockRows]);
    keySlot.push_back(segmentRow % kBlockRows);
  }
}

void AttentionPlan::addPieces(const Segment& segment, int count, bool own, int position,
                              int rotation) {
  for (int begin = 0; begin < count; begin += kPieceRows) {
    pieces.push_back({&segment, begin, segment.blocks() + begin / kBlockRows,
                      std::min(kPieceRows, count - begin), own, position + begin, rotation});
  }
}

int AttentionPlan::rotationFor(const Run& run, size_t firstRotation, int shift) {
  for (size_t i = firstRotation; i < rotations.size(); ++i) {
    if (rotations[i].shift == shift) return static_cast<int>(i);
  }
  rotations.push_back({run.batchRow, run.count, shift, queryRows});
  queryRows += run.count;
  for (int row = 0; row < run.count; ++row)
    queryPositions.push_back(run.segment->start() + run.firstRow + row - shift);
  return static_cast<int>(rotations.size()) - 1;
}

bool AttentionPlan::range(const Tile& tile, const Piece& piece, int window, int group,
                          int32_t* first, int32_t* visible) {
  // Row of the piece at which the window of the tile's first row begins; later rows' begin later.
  const int begin = tile.position - window + 1 - piece.position;
  if (window != 0 && begin >= piece.rows) return false;
  int query = 0;
  for (int row = 0; row < tile.rows; ++row) {
    const int seen = piece.own
                         ? std::clamp(tile.segmentRow + row + 1 - piece.segmentRow, 0, piece.rows)
                         : piece.rows;
    for (int h = 0; h < group; ++h, ++query) {
      first[query] = window == 0 ? 0 : std::clamp(begin + row, 0, piece.rows);
      visible[query] = seen;
    }
  }
  return true;
}

}  // namespace baton
