// SPDX-License-Identifier: Apache-2.0
// Who holds which block, counted from the living segments when somebody asks: bookkeeping on every
// read and fork would cost more than it tells.
#include <algorithm>

#include "cache/pool.h"
#include "cache/segment.h"

namespace baton {
namespace {

constexpr uint32_t kOwned = 1u << 31;  // beside the count: some segment has the block as its own

}  // namespace

Pool::Census Pool::census() const {
  Census census{};
  std::vector<uint32_t> holders;
  // Destroyed last, when no lock is held: dropping a read may end a segment, which leaves the pool.
  std::vector<std::vector<SegmentRead>> views;
  const auto note = [&](const std::vector<int32_t>& blocks, size_t count) {
    for (size_t i = 0; i < std::min(count, blocks.size()); ++i) {
      const auto at = static_cast<size_t>(blocks[i]);
      if (holders.size() <= at) holders.resize(at + 1);
      ++holders[at];
    }
  };
  const std::lock_guard lock(membersMutex_);
  for (const Segment* segment : members_) {
    const std::vector<int32_t> blocks = segment->blockNumbers();
    for (const int32_t block : blocks) {
      const auto at = static_cast<size_t>(block);
      const bool seen = at < holders.size() && (holders[at] & kOwned) != 0;
      note(std::vector<int32_t>{block}, 1);
      if (seen) continue;
      holders[at] |= kOwned;
      ++census.blocksOfKind[static_cast<size_t>(segment->kind())];
    }
    views.push_back(segment->reads());
    for (const SegmentRead& read : views.back()) {
      note(read.segment->blockNumbers(),
           static_cast<size_t>((read.rows + kBlockRows - 1) / kBlockRows));
    }
  }
  for (const uint32_t count : holders) census.blocksShared += (count & ~kOwned) > 1 ? 1 : 0;
  return census;
}

}  // namespace baton
