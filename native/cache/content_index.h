// SPDX-License-Identifier: Apache-2.0
// The content index: which block holds the rows that end with an identity. A block is found for as
// long as its content is in the pool. Blocks that no segment holds any more are kept here, up to a
// budget, and given up as a policy says; a block that a segment holds is never given up.
//
// No lock of its own: it is the pool's, which asks it under the pool's lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "cache/policies/policy.h"
#include "cache/policies/ranking.h"

namespace baton {

// Why rows had to be computed.
enum class MissReason : uint8_t {
  kNone,            // they did not: all were found
  kNeverSeen,       // nobody has computed them
  kEvicted,         // given up for lack of room
  kDifferentFrame,  // the same rows are known, at another place or after other reads
  kIndexOff,        // the index has no budget
  kLogitsNeeded,    // found, but the last row is computed for its logits, with its block
  kPartOfBlock,     // rows that do not fill a block of a segment that may still grow
  kComputedFaster   // a tier has them, and computing them takes less than reading them back
};

class ContentIndex {
 public:
  // `budget`: blocks kept without a holder; 0 switches the index off.
  explicit ContentIndex(size_t budget, const Policy& policy = kLru);

  bool on() const { return budget_ > 0; }
  size_t kept() const { return ranking_.size(); }
  bool full() const { return kept() > budget_; }

  // The block whose last row ends `identity`, or -1.
  int32_t find(const Digest& identity) const;

  // `block` holds what `identity` names. Ignored if another block is known for it. `use`: cost and
  // bytes.
  void put(const Digest& identity, int32_t block, const BlockUse& use = {});
  void noteContent(const Digest& content) noexcept;

  // What a kept block is, and how it was used; null: it is not kept.
  struct Known {
    const Digest* identity;
    const BlockUse* use;
  };
  Known kept(int32_t block) const noexcept;

  // Its last holder let go: true if it is kept. If not, nothing is known of it any more.
  bool keep(int32_t block, const Retention& retention = {}) noexcept;
  // A kept block has a holder again.
  void take(int32_t block) noexcept;
  // Gives up the kept block that is worth least; -1: there is none.
  int32_t evict() noexcept;

  // Why `identity` is not found. `content`: the segment's first rows, when nothing of it was found.
  MissReason why(const Digest& identity, const Digest* content) const noexcept;

 private:
  struct Hash {
    size_t operator()(const Digest& digest) const noexcept;
  };
  struct Entry {
    Digest identity{};
    bool named = false;  // identity is set
    BlockUse use = {};
  };
  // The last few thousand digests seen, by their first bytes. Newer ones overwrite older ones, so
  // that a reason may turn into "never seen" after a long time.
  class Memory {
   public:
    explicit Memory(bool on) : slots_(on ? kSlots : 0) {}
    void add(const Digest& digest) noexcept;
    bool has(const Digest& digest) const noexcept;

   private:
    static constexpr size_t kSlots = 1 << 14;
    std::vector<uint64_t> slots_;
  };

  void forget(int32_t block) noexcept;

  size_t budget_;
  std::unordered_map<Digest, int32_t, Hash> blockOf_;
  std::vector<Entry> entries_;  // by block number
  Ranking ranking_;             // the kept ones
  Memory evicted_;
  Memory contents_;
};

}  // namespace baton
