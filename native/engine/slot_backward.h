// SPDX-License-Identifier: Apache-2.0
// A batch's views as a device goes through them backward (cuda/attention_backward.h): the items of
// the forward, for the queries, and their transpose, for K and V: of every live block of 16 rows,
// which rows of the batch read it. Made once a step, for all layers. Frozen blocks are no targets.
//
// The readers of a block are cut into parts of at most so many rows, in the order of the batch: a
// prompt is read by all of it, and one block of threads would go through that alone.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/attention_backward.h"
#include "engine/attention_plan.h"
#include "engine/slot_plan.h"

namespace baton {

// Rows of a part. To be measured on a GPU.
inline constexpr int kKeyPartRows = 128;

struct SlotBackward {
  std::vector<DAttendItem> items;
  std::vector<StateList> lists;    // [R] the states of a row's dq
  std::vector<int32_t> positions;  // [states] negated ones of their queries
  int states = 0;
  int mostRows = 0;  // of an item

  std::vector<KeyUse> uses;
  std::vector<KeyPart> parts;
  std::vector<KeyTarget> targets;
  struct Range {
    int partBegin, partEnd, targetBegin, targetEnd;
  };
  Range batch{};               // of segments of the batch, whose rows are those of the batch
  std::vector<Range> outside;  // of the others, whose rows are their own

  // Every run of `batch` is a whole segment. Rows of `others` are live, too.
  void make(const AttentionPlan& plan, const SlotPlan& slots, const Batch& batch,
            const std::vector<const Segment*>& others, int partRows = kKeyPartRows);

 private:
  // A live segment: the readers of each of its blocks.
  struct Live {
    const Segment* segment;
    int row;  // its first in dk and dv
    std::vector<std::vector<KeyUse>> blocks;
  };

  void addItems(const AttentionPlan& plan, const SlotPlan& slots);
  void addUses(const AttentionPlan& plan, const AttentionPlan::Tile& tile,
               const AttentionPlan::Piece& piece, int partRows);
  Range addTargets(size_t liveBegin, size_t liveEnd, int partRows);

  std::vector<Live> live_;
};

}  // namespace baton
