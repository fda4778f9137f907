// SPDX-License-Identifier: Apache-2.0
// The KV pool: blocks of 16 rows under one byte budget. Address space for the whole budget is
// reserved at once and touched as blocks are used (on a device with memory of its own, all of it is
// taken at once), so a block number fixes its address and nothing moves. A block is written by one
// segment, once; sharing happens by segments holding each other, or the same blocks, never by
// copying. A block is free, held by one segment or several, or kept: held by nobody, and found
// again by its content (content_index.h) until its room is needed.
//
// With BATON_POISON_CACHE=1 in the environment when the pool is made, every block is filled with
// 0xFF bytes (NaN in all formats; of int8 the scales) when it is handed out and when it is given
// back. For tests: what must not be read cannot pass unseen.
//
// A block is [L layers][K: G heads x D x 16 | V: G heads x 16 x D] in the pool's number format, of
// int8 with 16 scales behind every head's K and V (layout: attend.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "base/dtype.h"
#include "cache/content_index.h"
#include "device/memory.h"

namespace baton {

class Segment;

// Told of blocks that nobody holds any more and that are kept. Under the pool's lock: it must not
// ask the pool anything.
class KeptListener {
 public:
  virtual ~KeptListener() = default;
  virtual void kept(int32_t block) noexcept = 0;
};

struct KvShape {
  int layers;   // L
  int kvHeads;  // G
  int headDim;  // D
  KvType type;

  size_t headBytes() const {  // one of K or V of one head in one layer of one block
    return kvHeadBytes(type, headDim);
  }
  size_t layerBytes() const { return 2 * static_cast<size_t>(kvHeads) * headBytes(); }
  size_t blockBytes() const { return static_cast<size_t>(layers) * layerBytes(); }
  size_t rowBytes() const { return blockBytes() / kBlockRows; }
};

class Pool {
 public:
  // Error(OPTION_INVALID) if the budget holds no block; Error(OUT_OF_MEMORY) if the address space,
  // or the memory of a device, cannot be had. `indexBytes`: of it, what may be kept for being found
  // again; 0: nothing is.
  explicit Pool(const KvShape& shape, size_t budgetBytes, size_t indexBytes = 0,
                std::shared_ptr<Memory> memory = hostMemory(), const Policy& policy = kLru);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Error(CACHE_BUDGET) with bytes needed and free, if `count` blocks are not free or kept now.
  void require(size_t count) const;

  // Appends `count` block numbers to `blocks`: all or none. Kept blocks make room.
  // Error(CACHE_BUDGET) with bytes needed and free.
  void allocate(size_t count, std::vector<int32_t>& blocks);

  // One holder of each block more, of blocks that have one.
  void hold(const int32_t* blocks, size_t count) noexcept;

  // One holder of each block less. What is known by its content is kept, the first block longest,
  // unless the last holder asks otherwise.
  void release(const int32_t* blocks, size_t count, const Retention& retention = {}) noexcept;

  // ---- content: nothing happens, and nothing is found, when indexBytes is 0.
  bool indexed() const { return indexed_; }

  // Makes blocks known that will never be written again: `identities[i]` ends in `blocks[i]`.
  // `content`: of the first rows of the segment, when it is complete. `cost`: FLOP to compute one
  // of the blocks again.
  void offer(const Digest* identities, const int32_t* blocks, size_t count, const Digest* content,
             double cost = 0);

  // Length of the longest known run of `identities` from the first on.
  size_t known(const Digest* identities, size_t count) const;

  // Longest known run of `identities` from the first on: appends its blocks, each held once more.
  size_t find(const Digest* identities, size_t count, std::vector<int32_t>& blocks);

  MissReason why(const Digest& identity, const Digest* content) const;

  // Null: nobody. The one before is not called any more when this returns.
  void tellKept(KeptListener* listener);

  // A kept block as it is now, to `to` [blockBytes] or nowhere (null); false: it is not kept.
  // Nobody gets a block for as long as that takes.
  struct KeptBlock {
    Digest identity;
    BlockUse use;
  };
  bool copyKept(int32_t block, std::byte* to, KeptBlock& found) const;

  // FLOP of a row, and of a row of a view that it reads, for the costs of blocks.
  struct RowCost {
    double row = 1, read = 0;
  };
  void setRowCost(const RowCost& cost) { rowCost_ = cost; }
  const RowCost& rowCost() const { return rowCost_; }

  const KvShape& shape() const { return shape_; }
  Memory& memory() const { return *memory_; }  // in which the blocks are
  const std::shared_ptr<Memory>& sharedMemory() const { return memory_; }
  std::byte* block(int32_t number) const {  // [blockBytes]
    return base_ + static_cast<size_t>(number) * shape_.blockBytes();
  }
  std::byte* keys(int layer) const {
    return base_ + static_cast<size_t>(layer) * shape_.layerBytes();
  }
  std::byte* values(int layer) const {
    return keys(layer) + static_cast<size_t>(shape_.kvHeads) * shape_.headBytes();
  }

  struct Stats {
    size_t blocksTotal, blocksUsed, blocksPeak, blocksKept, blockBytes, segments;
  };
  Stats stats() const;

  // What the living segments hold, each block counted once however many hold it.
  struct Census {
    size_t blocksOfKind[3];  // by SegmentKind
    size_t blocksShared;     // held or read by more than one segment
  };
  Census census() const;  // census.cpp

  // A segment's life, for the census.
  void enter(const Segment* segment);
  void leave(const Segment* segment) noexcept;

 private:
  void requireLocked(size_t count) const;
  int32_t takeFreeLocked();
  void freeLocked(int32_t block) noexcept;
  void poison(int32_t block) const noexcept;

  KvShape shape_;
  std::shared_ptr<Memory> memory_;
  size_t mappedBytes_ = 0;
  std::byte* base_ = nullptr;
  bool poisoned_;
  mutable std::mutex mutex_;
  std::vector<int32_t> free_;  // stack of released blocks
  size_t total_ = 0;           // blocks that the budget holds
  size_t touched_ = 0;         // blocks ever handed out; numbers below are in free_ or in use
  size_t used_ = 0;            // held by a segment
  size_t peak_ = 0;
  std::vector<uint32_t> holders_;  // by block number
  bool indexed_;
  ContentIndex index_;
  KeptListener* listener_ = nullptr;
  RowCost rowCost_;

  mutable std::mutex membersMutex_;
  std::unordered_set<const Segment*> members_;
};

}  // namespace baton
