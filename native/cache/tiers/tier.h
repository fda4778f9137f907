// SPDX-License-Identifier: Apache-2.0
// A tier keeps blocks that the pool has no room for, each under the identity of its last row,
// within a byte budget of its own and in the order of an eviction policy. What it gives back is
// what it was given, or nothing: every block has a checksum. Losing a block costs time only, so a
// tier that cannot write goes on without, and says so once.
//
// Threads: `put` and `take` are the mover's; the others any thread's, and never wait for the
// storage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "cache/policies/policy.h"
#include "cache/policies/ranking.h"

namespace baton {

struct TierSpec {
  std::string name;    // of the table
  size_t bytes = 0;    // budget
  std::string folder;  // of those that have files
};

// What a block's bytes are good for: the same model, number format and arithmetic.
struct TierContent {
  std::string scope;
  size_t blockBytes = 0;
};

struct TierStats {
  std::string name;
  size_t budgetBytes = 0, usedBytes = 0, blocks = 0;
  uint64_t written = 0;       // blocks since it was opened
  uint64_t read = 0;          // given back whole
  uint64_t evicted = 0;       // for lack of room
  uint64_t damaged = 0;       // not what was written
  double bytesPerSecond = 0;  // of reading, lately; 0: nothing was read yet
  bool writes = true;         // false: its storage refused
};

// Where a tier's blocks lie.
class TierStorage {
 public:
  virtual ~TierStorage() = default;

  // What was there when it was opened: calls `found` for each.
  struct Stored {
    int32_t slot;
    Digest identity;
    BlockUse use;
  };
  virtual std::vector<Stored> contents() { return {}; }

  virtual int32_t slots() const = 0;     // that the budget holds
  virtual size_t slotBytes() const = 0;  // of the budget
  virtual bool write(int32_t slot, const Digest& identity, const BlockUse& use,
                     const std::byte* block) = 0;      // false: its storage refuses
  virtual bool read(int32_t slot, std::byte* to) = 0;  // false: damaged
  // The block has been used again.
  virtual void note(int32_t, const Digest&, const BlockUse&) {}
  virtual void forget(int32_t slot) = 0;
};

class Tier {
 public:
  Tier(std::string name, std::unique_ptr<TierStorage> storage, const Policy& policy);

  const std::string& name() const { return name_; }

  // Length of the longest known run of `identities` from the first on.
  size_t known(const Digest* identities, size_t count) const;
  bool has(const Digest& identity) const { return known(&identity, 1) == 1; }

  // Keeps a block, giving up others. What it gave up is handed to `spill` first, if there is one.
  class Spill {
   public:
    virtual ~Spill() = default;
    virtual void spill(const Digest& identity, const BlockUse& use, const std::byte* block) = 0;
  };
  void put(const Digest& identity, const BlockUse& use, const std::byte* block, Spill* spill);

  // The block's bytes; false: it is not there, or was damaged and is forgotten.
  bool take(const Digest& identity, std::byte* to);

  TierStats stats() const;

 private:
  struct Hash {
    size_t operator()(const Digest& digest) const noexcept;
  };
  struct Entry {
    Digest identity{};
    BlockUse use{};
  };

  int32_t slotFor(const Digest& identity, Spill* spill);
  void refuse();

  const std::string name_;
  const std::unique_ptr<TierStorage> storage_;
  mutable std::mutex mutex_;
  std::unordered_map<Digest, int32_t, Hash> slotOf_;
  std::vector<Entry> entries_;  // by slot
  std::vector<int32_t> free_;
  Ranking ranking_;
  std::vector<std::byte> spilled_;  // mover's
  TierStats stats_;
};

// One row of the table. Error(OPTION_INVALID, IO, OUT_OF_MEMORY).
struct TierKind {
  const char* name;
  std::unique_ptr<TierStorage> (*open)(const TierSpec& spec, const TierContent& content);
};
extern const TierKind kHostTier;
extern const TierKind kDiskTier;

const std::vector<const TierKind*>& tierKinds();  // the nearest first

// In the order of the table, whatever that of `specs`.
std::vector<std::unique_ptr<Tier>> openTiers(const std::vector<TierSpec>& specs,
                                             const TierContent& content, const Policy& policy);

}  // namespace baton
