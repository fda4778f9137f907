// SPDX-License-Identifier: Apache-2.0
// Attention over the intervals of a view. The plan is made once per batch and serves all layers:
// every read, and last the segment itself causally, is cut into pieces of kPieceRows rows; each
// piece gives a partial softmax state and the states merge in view order. Pieces start where the
// read segment starts, so the sums of a row never depend on how rows were batched or chunked, nor
// on the number of threads: these only decide who computes which piece.
//
// A sliding window (LayerSpec) cuts every interval per row: of a piece, a row reads those rows
// whose position in its own frame is less than the window behind it. The cuts depend on positions
// alone, so what is said of sums holds with windows too.
//
// A shift is honoured on the query's side: K stays as written, and q is rotated to (its position -
// shift), once per distinct shift of a run (method.md, frames).
#pragma once

#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "base/threads.h"
#include "cache/pool.h"
#include "engine/batch.h"
#include "engine/rope_table.h"
#include "kernels/ops.h"
#include "model/model.h"

namespace baton {

class Attention {
 public:
  Attention(const ModelConfig& config, const Ops& ops, ThreadPool& threads, const Pool& pool,
            const std::vector<RopeTable>& ropes);

  // Lays out pieces, tiles and rotations of a batch.
  void plan(const Batch& batch);

  // Rotates q and k, stores k and v in the pool, attends. q [R, H, D], k and v [R, G, D], out [R,
  // H, D].
  void run(int layer, const float* q, float* k, const float* v, float* out);

 private:
  struct Rotation {  // one copy of a run's queries
    int batchRow, count, shift, queryRow;
  };
  struct Piece {  // at most kPieceRows rows of one interval
    const int32_t* blocks;
    int rows;      // rows read; for the segment's own pieces, rows up to the end of the run
    int ownBegin;  // row of the own segment where the piece begins, or -1: every row is read by
                   // every query
    int position;  // of the first row, in the reader's frame
    int rotation;
  };
  struct Tile {  // some rows of a run: what one worker attends for one kv head
    int batchRow, rows, runRow, segmentRow, position, pieceBegin, pieceEnd;
  };
  struct State {  // [Q, D], [Q], [Q]
    float* o;
    float* m;
    float* d;
  };

  void planRun(const Run& run);
  void addPieces(const int32_t* blocks, int rows, bool own, int position, int rotation);
  int rotationFor(const Run& run, size_t firstRotation, int shift);
  void rotateAndStore(int layer, const float* q, float* k, const float* v);
  void attendPiece(int layer, int head, const Tile& tile, const Piece& piece, const State& state,
                   int worker);
  void merge(const State& into, const State& from, int queries) const;
  void finish(const Tile& tile, int head, const State& state, float* out) const;
  void runWhole(int layer, float* out);
  void runSplit(int layer, float* out);
  State stateAt(float* memory) const;
  void clear(const State& state) const;

  const ModelConfig& config_;
  const Ops& ops_;
  ThreadPool& threads_;
  const Pool& pool_;
  const std::vector<RopeTable>& ropes_;  // by ModelConfig::ropes
  int group_;                            // query heads per kv head
  int tileRows_;                         // rows of a full tile
  size_t stateFloats_;

  std::vector<Rotation> rotations_;
  std::vector<Piece> pieces_;
  std::vector<Tile> tiles_;
  std::vector<int> tilePieceOffset_;     // [tiles + 1] running number of pieces, for the split
  std::vector<int32_t> queryPositions_;  // [rows of rotated queries]
  std::vector<int32_t> keyPositions_;    // [R]
  std::vector<int32_t> keyBlock_;        // [R]
  std::vector<int32_t> keySlot_;         // [R]
  int queryRows_ = 0;
  int rows_ = 0;
  Buffer queries_;   // [queryRows, H, D] rotated
  Buffer partials_;  // states of split pieces
  Buffer scratch_;   // per worker: two states and scores
  size_t scratchFloats_;
};

}  // namespace baton
