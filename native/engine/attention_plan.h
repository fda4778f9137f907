// SPDX-License-Identifier: Apache-2.0
// A batch's views as work for attention: made once per batch, the same for all layers, and read by
// forward and backward alike. Every read, and last the segment itself causally, is cut into pieces
// of kPieceRows rows that start where the read segment starts, so the sums of a row never depend on
// how rows were batched or chunked.
//
// A sliding window (LayerSpec) cuts every piece per row: a row reads those rows whose position in
// its own frame is less than the window behind it.
//
// A shift is honoured on the query's side: K stays as written, and q is rotated to (its position -
// shift), once per distinct shift of a run (method.md, frames).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/batch.h"
#include "kernels/ops.h"

namespace baton {

struct AttentionPlan {
  struct Rotation {  // one copy of a run's queries
    int batchRow, count, shift, queryRow;
  };
  struct Piece {             // at most kPieceRows rows of one interval
    const Segment* segment;  // whose rows they are
    int segmentRow;          // of the first
    const int32_t* blocks;
    int rows;      // rows read; for the segment's own pieces, rows up to the end of the run
    bool own;      // of the reader's own segment: read causally
    int position;  // of the first row, in the reader's frame
    int rotation;
  };
  struct Tile {  // some rows of a run: what one worker attends for one kv head
    int batchRow, rows, runRow, segmentRow, position, pieceBegin, pieceEnd;
  };

  std::vector<Rotation> rotations;
  std::vector<Piece> pieces;
  std::vector<Tile> tiles;
  std::vector<int> tilePieceOffset;     // [tiles + 1] running number of pieces of tiles
  std::vector<int32_t> queryPositions;  // [queryRows] to which queries are rotated
  std::vector<int32_t> keyPositions;    // [R] of the batch's rows in their writers' frames
  std::vector<int32_t> keyBlock;        // [R] where their K and V go
  std::vector<int32_t> keySlot;         // [R]
  int queryRows = 0;                    // rows of all rotations
  int rows = 0;                         // R

  // Tiles of at most `tileRows` rows.
  void make(const Batch& batch, int tileRows);

  // What the queries of a tile, `group` heads a row, read of a piece in a layer with that window
  // (0: none): first[i] <= row < visible[i], both [tile.rows * group]. False: nothing.
  static bool range(const Tile& tile, const Piece& piece, int window, int group, int32_t* first,
                    int32_t* visible);

 private:
  void addRun(const Run& run, int tileRows);
  void addPieces(const Segment& segment, int rows, bool own, int position, int rotation);
  int rotationFor(const Run& run, size_t firstRotation, int shift);
};

}  // namespace baton
