// SPDX-License-Identifier: Apache-2.0
// Which pieces of a plan are attended together: tiles that read the same piece of a segment, whole,
// share one pass over its K and V. That is what branches on one trunk do. Made with the plan, once
// per batch.
#pragma once

#include <vector>

#include "engine/attention_plan.h"

namespace baton {

struct AttentionGroups {
  struct Member {
    int tile, piece;
    int row;  // of the group, first of the tile's
  };
  struct Group {
    int memberBegin, memberEnd, rows;
    int rowsBefore;  // of all groups before
  };
  struct Place {  // of one tile's reading of one piece
    int group, row;
  };

  std::vector<Member> members;
  std::vector<Group> groups;
  std::vector<Place> places;  // by running number of pieces of tiles (tilePieceOffset)
  int rows = 0;               // of all groups

  // Groups of at most `mostRows` rows.
  void make(const AttentionPlan& plan, int mostRows);

  // So much is read in common that keeping every group's state until all are done repays itself.
  bool worthwhile() const { return 2 * groups.size() <= members.size(); }
};

}  // namespace baton
