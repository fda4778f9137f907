// SPDX-License-Identifier: Apache-2.0
// Blocks in the order in which a policy gives them up: a binary heap, least worth on top, in which
// every block knows its place. Nothing allocates but `reserve`, so that a block can always be given
// back. No lock of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache/policies/policy.h"

namespace baton {

// What whoever lets go of a block asks for.
enum class Retain : uint8_t {
  kDrop,   // nobody is going to need it: not kept
  kUsual,  // as the policy says
  kResume  // it will be needed again: kept when all others are gone, for as long as is asked
};

struct Retention {
  Retain retain = Retain::kUsual;
  double until = 0;  // kResume: milliseconds of now(), after that as the policy says
};

class Ranking {
 public:
  explicit Ranking(const Policy& policy) : policy_(&policy) {}

  static double now();  // milliseconds of a clock that never goes back

  void reserve(size_t blocks);  // numbers below `blocks` may be added
  size_t size() const { return heap_.size(); }
  bool has(int32_t block) const {
    const auto at = static_cast<size_t>(block);
    return at < ranks_.size() && ranks_[at].place >= 0;
  }

  // Sets use.lastUse.
  void add(int32_t block, BlockUse& use, const Retention& retention) noexcept;
  void remove(int32_t block) noexcept;

  // The one worth least, taken out; -1: there is none. Raises the floor.
  int32_t takeLeast() noexcept;

 private:
  struct Rank {
    int32_t place = -1;  // in heap_; -1: not in it
    double until = 0;    // protected till then; 0: not protected
    double worth = 0;
    double added = 0;  // breaks ties: what was added last goes last
  };

  bool before(int32_t a, int32_t b) const noexcept;
  void put(size_t place, int32_t block) noexcept;
  void rise(size_t place) noexcept;
  void sink(size_t place) noexcept;
  void unprotect() noexcept;

  const Policy* policy_;
  std::vector<Rank> ranks_;  // by block number
  std::vector<int32_t> heap_;
  double uses_ = 0;
  double floor_ = 0;
  double nextUnprotected_ = 0;  // when the first protection ends, or earlier; 0: none is protected
};

}  // namespace baton
