// SPDX-License-Identifier: Apache-2.0
// Attention over the intervals of a view: the pieces of an AttentionPlan each give a partial
// softmax state, and the states merge in view order. Threads only decide who computes which piece.
#pragma once

#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/cost.h"
#include "base/threads.h"
#include "cache/pool.h"
#include "engine/attention_groups.h"
#include "engine/attention_plan.h"
#include "engine/rope_table.h"
#include "kernels/ops.h"
#include "model/model.h"

namespace baton {

class Attention {
 public:
  // `bf16`: products are of bfloat16 (attend.h) where the table has them.
  Attention(const ModelConfig& config, const Ops& ops, ThreadPool& threads, const Pool& pool,
            const std::vector<RopeTable>& ropes, bool bf16 = false);

  void plan(const Batch& batch);
  const AttentionPlan& plan() const { return plan_; }

  // Rotates q and k, stores k and v in the pool, attends. q [R, H, D], k and v [R, G, D], out [R,
  // H, D]. `lse` [R, H], may be null: log of each softmax denominator, for backward.
  void run(int layer, const float* q, float* k, const float* v, float* out, float* lse = nullptr);

 private:
  struct Output {
    float* out;
    float* lse;
  };
  using Piece = AttentionPlan::Piece;
  using Tile = AttentionPlan::Tile;
  using Member = AttentionGroups::Member;
  struct Item {  // one kv head of a piece
    const Piece* piece;
    int head;
  };
  struct State {  // [Q, D], [Q], [Q]
    float* o;
    float* m;
    float* d;
  };

  void rotateAndStore(int layer, const float* q, float* k, const float* v);
  void storeRows(const RopeArgs& keys, const KvStoreArgs& store);
  Cost attendCost(int layer) const;
  struct Queries {
    const float* q[kMaxQueries];
    int32_t first[kMaxQueries], visible[kMaxQueries];
    int count = 0;
  };

  // The members' query vectors of a kv head. False: none of them reads a row.
  bool gather(int layer, int head, std::span<const Member> members, Queries& all) const;
  // Members read the same rows. `next`: what the worker will probably attend next, or null.
  void attend(int layer, int head, std::span<const Member> members, const State& state, int worker,
              const Item* next);
  void merge(const State& into, const State& from, int queries) const;
  void finish(const Tile& tile, int head, const State& state, const Output& to) const;
  void mergeGroups(int tile, int head, const State& total, const Output& to);
  State partialOf(int group, int head);
  void runWhole(int layer, const Output& to);
  void runGroups(int layer, const Output& to);
  State stateAt(float* memory, int queries) const;
  void clear(const State& state, int queries) const;
  Item itemOf(int item) const;

  const ModelConfig& config_;
  const Ops& ops_;
  ThreadPool& threads_;
  const Pool& pool_;
  const std::vector<RopeTable>& ropes_;  // by ModelConfig::ropes
  bool bf16_;
  int group_;     // query heads per kv head
  int tileRows_;  // rows of a full tile
  size_t stateFloats_;

  AttentionPlan plan_;
  AttentionGroups groups_;
  Buffer queries_;   // [queryRows, H, D] rotated
  Buffer partials_;  // states of groups
  Buffer scratch_;   // per worker: two states and scores
  size_t scratchFloats_;
};

}  // namespace baton
