// SPDX-License-Identifier: Apache-2.0
// The KV pool: blocks of 16 rows under one byte budget. Address space for the whole budget is
// reserved at once and touched as blocks are used, so a block number fixes its address and nothing
// moves. Every block has one owner, the segment that wrote it; sharing happens by segments holding
// each other, never by copying.
//
// With BATON_POISON_CACHE=1 in the environment when the pool is made, every block is filled with
// 0xFF bytes (NaN in all three formats) when it is handed out and when it is given back. For tests:
// what must not be read cannot pass unseen.
//
// A block is [L layers][K: G heads x D x 16 | V: G heads x 16 x D] in the pool's number format
// (layout: attend.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/dtype.h"

namespace baton {

struct KvShape {
  int layers;   // L
  int kvHeads;  // G
  int headDim;  // D
  KvType type;

  size_t headBytes() const {  // one of K or V of one head in one layer of one block
    return static_cast<size_t>(headDim) * kBlockRows * static_cast<size_t>(kvTypeBytes(type));
  }
  size_t layerBytes() const { return 2 * static_cast<size_t>(kvHeads) * headBytes(); }
  size_t blockBytes() const { return static_cast<size_t>(layers) * layerBytes(); }
  size_t rowBytes() const { return blockBytes() / kBlockRows; }
};

class Pool {
 public:
  // Error(OPTION_INVALID) if the budget holds no block; Error(OUT_OF_MEMORY) if the address space
  // cannot be had.
  Pool(const KvShape& shape, size_t budgetBytes);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Error(CACHE_BUDGET) with bytes needed and free, if `count` blocks are not free now.
  void require(size_t count) const;

  // Appends `count` block numbers to `blocks`: all or none. Error(CACHE_BUDGET) with bytes needed
  // and free.
  void allocate(size_t count, std::vector<int32_t>& blocks);
  void release(const int32_t* blocks, size_t count) noexcept;

  const KvShape& shape() const { return shape_; }
  std::byte* keys(int layer) const {
    return base_ + static_cast<size_t>(layer) * shape_.layerBytes();
  }
  std::byte* values(int layer) const {
    return keys(layer) + static_cast<size_t>(shape_.kvHeads) * shape_.headBytes();
  }

  struct Stats {
    size_t blocksTotal, blocksUsed, blocksPeak, blockBytes, segments;
  };
  Stats stats() const;

  void countSegment(int delta) noexcept;

 private:
  void requireLocked(size_t count) const;

  void poison(const int32_t* blocks, size_t count) const noexcept;

  KvShape shape_;
  size_t mappedBytes_ = 0;
  std::byte* base_ = nullptr;
  bool poisoned_;
  mutable std::mutex mutex_;
  std::vector<int32_t> free_;  // stack of released blocks
  size_t total_ = 0;           // blocks that the budget holds
  size_t touched_ = 0;         // blocks ever handed out; numbers below are in free_ or in use
  size_t used_ = 0;
  size_t peak_ = 0;
  size_t segments_ = 0;
};

}  // namespace baton
