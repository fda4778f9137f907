// SPDX-License-Identifier: Apache-2.0
// Of the items of a step (slot_plan.h) those of several readers that read the same blocks: joined
// into items that read them once for the rows of all. Items are cut by a law of the view alone, so
// branches that read a trunk from the beginning of their views, or of a shift, have items of the
// very same blocks. Readers' frames may differ: a row has a position of its own.
//
// A row keeps its states: they are as many as without, and merge in the same order. What changes is
// in which item each is made.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/attention.h"
#include "engine/attention_plan.h"

namespace baton {

// When readings are joined. It pays where
//   (sharers - 1) * bytes of K and V / bandwidth  >  what joining costs.
// States and what merging them moves are the same either way; what it costs is at most a launch
// more, of tensor cores beside that of rows that nobody shares, and having fewer blocks of threads:
// about 3 us a layer. With 8 kv heads of 128 bfloat16 numbers a row of K and V is 4 KB, so at 3
// TB/s 3 us are 2,200 rows that need not be read: three readings of 1,024 rows are 3,072. Fewer
// sharers find each other's blocks in the second-level cache as it is. Tensor cores read a block
// once for 64 queries; where they may not (Sharing::kFew) it is once for four, which is less often
// than apart only if a group has fewer heads than that. All of this is arithmetic and waits for a
// GPU: `baton_gpu_bench shared` times lists that are joined and the same ones apart, for several
// sharers and trunks.
struct ShareGate {
  int sharers = 4;   // readers of an item's blocks
  int rows = 1'024;  // of K and V that are read for several, of a whole step
};

class SlotSharing {
 public:
  // Replaces items of at most `fewRows` rows that read the same by shared ones of at most
  // `mostRows` rows, which stand last; their rows are `rows`. Nothing where the gate does not let
  // it.
  void join(const std::vector<KvSlot>& slots, int fewRows, int mostRows, const ShareGate& gate,
            std::vector<AttendItem>& items, std::vector<AttendRow>& rows);

 private:
  struct Group {
    size_t begin, end;  // in members_
    int rows;
  };

  void addCandidates(const std::vector<KvSlot>& slots, const std::vector<AttendItem>& items,
                     int fewRows);
  void addGroups(const std::vector<AttendItem>& items, size_t begin, size_t end, int mostRows,
                 int sharers);
  void addItem(const std::vector<KvSlot>& slots, const Group& group, std::vector<AttendItem>& items,
               std::vector<AttendRow>& rows) const;

  std::vector<size_t> members_;  // items, those of the same blocks side by side
  std::vector<Group> groups_;
};

}  // namespace baton
