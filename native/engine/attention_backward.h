// SPDX-License-Identifier: Apache-2.0
// Backward of attention over the intervals of a view (attention.h read from bottom to top) on a
// CPU, for a batch that has run forward. Two passes, each without atomics and in a fixed order:
// every query gathers its gradient from all that it reads, then every live row of K and V gathers
// its own from all that read it. Frozen rows take part in the first pass only.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/buffer.h"
#include "base/cost.h"
#include "base/threads.h"
#include "cache/pool.h"
#include "engine/attention_plan.h"
#include "engine/backend.h"
#include "engine/rope_table.h"
#include "kernels/ops.h"
#include "model/model.h"

namespace baton {

class AttentionBackward {
 public:
  // `fast`: products may be of bfloat16, as those of the forward (dattend.h).
  AttentionBackward(const ModelConfig& config, const Ops& ops, ThreadPool& threads,
                    const Pool& pool, const std::vector<RopeTable>& ropes, bool fast);

  // `plan` is that of `batch`, each of whose runs is a whole segment, and outlives the runs of
  // this. Rows of `outside` segments are live too.
  void plan(const AttentionPlan& plan, const Batch& batch, std::vector<KvGradient>& outside);

  void run(const LayerAttentionBackward& args);

 private:
  // Rows of a live segment that one worker gathers for, with all that read them.
  struct Use {
    int tile, piece, row;  // the first of the rows, in the piece
  };
  struct KeyChunk {
    int batchRow;  // of the first row, or -1: a segment outside of the batch
    KvGradient* outside;
    int segmentRow, rows;
    std::vector<Use> uses;
  };

  void addUses(int tile, int piece);
  void findDelta(const float* dout, const float* attended);
  void rotateQueries(int layer, const float* q);
  void gatherQueries(int layer, const float* lse, const float* dout);
  void gatherKeys(int layer, const float* lse, const float* dout, float* dk, float* dv);
  void turnBack(int layer, float* dq, float* dk);
  Cost queriesCost(int layer) const;
  Cost keysCost(int layer, bool ofBatch) const;
  RopeArgs ropeArgs(int layer, int heads) const;
  int fill(DAttendArgs& args, int layer, int head, const AttentionPlan::Tile& tile,
           const AttentionPlan::Piece& piece, const float* lse, const float* dout,
           struct QueryPointers& pointers) const;

  const ModelConfig& config_;
  const Ops& ops_;
  ThreadPool& threads_;
  const Pool& pool_;
  const std::vector<RopeTable>& ropes_;
  int group_;  // query heads per kv head
  const bool fast_;
  const AttentionPlan* plan_ = nullptr;
  std::unordered_map<const Segment*, int> batchRows_;  // where each of the batch begins
  std::unordered_map<const Segment*, KvGradient*> outside_;
  std::unordered_map<const Segment*, std::vector<int>> chunkOf_;  // by chunk of a segment: index
  std::vector<KeyChunk> chunks_;
  std::vector<int32_t> queryPositions_, keyPositions_;  // negated
  Buffer queries_;                                      // [queryRows, H, D] rotated
  Buffer dqueries_;                                     // [queryRows, H, D]
  Buffer delta_;                                        // [R, H]
  Buffer scratch_;                                      // per worker
  size_t scratchFloats_;
};

}  // namespace baton
