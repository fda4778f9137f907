// SPDX-License-Identifier: Apache-2.0
// An eviction policy says what a stored block is worth; the one worth least goes first. A policy is
// a function of what is known of a block's use, in a file of its own and a row of the table, and
// serves the content index and every tier alike.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace baton {

struct BlockUse {
  double lastUse = 0;  // how many uses of all blocks there had been at this one's last
  double uses = 0;     // times that it was written or found
  double cost = 0;     // FLOP to compute its rows again
  double bytes = 1;
};

struct Policy {
  const char* name;
  // `floor`: the worth of the block that was given up last, 0 at first. A policy that adds it ages
  // what is no longer used.
  double (*worth)(const BlockUse& use, double floor);
};

extern const Policy kLru;
extern const Policy kCostAware;

const std::vector<const Policy*>& policies();     // all of them, the default first
const Policy* findPolicy(std::string_view name);  // null: there is none of that name

}  // namespace baton
