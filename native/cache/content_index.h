// SPDX-License-Identifier: Apache-2.0
// The content index: which block holds the rows that end with an identity. A block is found for as
// long as its content is in the pool. Blocks that no segment holds any more are kept here, up to a
// budget, and given up least recently used first; a block that a segment holds is never given up.
//
// No lock of its own: it is the pool's, which asks it under the pool's lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/hash.h"

namespace baton {

// Why rows had to be computed.
enum class MissReason : uint8_t {
  kNone,            // they did not: all were found
  kNeverSeen,       // nobody has computed them
  kEvicted,         // given up for lack of room
  kDifferentFrame,  // the same rows are known, at another place or after other reads
  kIndexOff,        // the index has no budget
  kLogitsNeeded,    // found, but the last row is computed for its logits, with its block
  kPartOfBlock      // rows that do not fill a block of a segment that may still grow
};

class ContentIndex {
 public:
  // `budget`: blocks kept without a holder; 0 switches the index off.
  explicit ContentIndex(size_t budget);

  bool on() const { return budget_ > 0; }
  size_t kept() const { return kept_; }
  bool full() const { return kept_ > budget_; }

  // The block whose last row ends `identity`, or -1.
  int32_t find(const Digest& identity) const;

  // `block` holds what `identity` names. Ignored if another block is known for it.
  void put(const Digest& identity, int32_t block);
  void noteContent(const Digest& content) noexcept;

  // Its last holder let go: true if it is kept, as the most recently used.
  bool keep(int32_t block) noexcept;
  // A kept block has a holder again.
  void take(int32_t block) noexcept;
  // Gives up the least recently used of the kept blocks; -1: there is none.
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
    bool kept = false;   // in the list
    int32_t before = -1, after = -1;
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

  void unlink(Entry& entry) noexcept;

  size_t budget_;
  size_t kept_ = 0;
  std::unordered_map<Digest, int32_t, Hash> blockOf_;
  std::vector<Entry> entries_;         // by block number
  int32_t oldest_ = -1, newest_ = -1;  // ends of the list of kept blocks
  Memory evicted_;
  Memory contents_;
};

}  // namespace baton
