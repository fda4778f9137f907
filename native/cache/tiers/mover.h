// SPDX-License-Identifier: Apache-2.0
// Moves blocks between the pool and the tiers on threads of its own, so that no step waits for it:
// a block is copied to the nearest tier as soon as it is kept by nobody, not when its room is
// needed, and read back into blocks of the pool that the restore holds meanwhile. What a tier gives
// up goes to the next one. The two take turns, a restore after at most one copied block; who copies
// gives way to whoever computes, for nobody waits for it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cache/pool.h"
#include "cache/tiers/tier.h"

namespace baton {

// Blocks on their way into the pool. Whoever holds it finds them by their content when it is done.
class Restore {
 public:
  Restore(std::shared_ptr<Pool> pool, std::vector<Digest> identities, double cost);
  ~Restore();  // lets go of the blocks: those that came are kept like any other
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;

  bool done() const { return done_; }
  size_t came() const { return came_; }  // of the blocks; when it is done
  double milliseconds() const { return milliseconds_; }
  bool has(const Digest& identity) const;

 private:
  friend class Mover;

  const std::shared_ptr<Pool> pool_;
  const std::vector<Digest> identities_;
  const double cost_;
  std::vector<int32_t> blocks_;
  size_t came_ = 0;
  double milliseconds_ = 0;
  std::atomic<bool> done_{false};
};

class Mover : public KeptListener {
 public:
  // `wake` is called on a thread of the mover whenever a restore is done. Error(OUT_OF_MEMORY).
  Mover(std::shared_ptr<Pool> pool, std::vector<std::unique_ptr<Tier>> tiers,
        std::function<void()> wake);
  ~Mover() override;  // close()

  void kept(int32_t block) noexcept override;

  // Of the longest run of `identities` from the first on that tiers have.
  struct Known {
    size_t count = 0;
    size_t tier = 0;     // the farthest that is needed
    double seconds = 0;  // that reading them is expected to take; 0: nothing was read yet
  };
  Known known(const Digest* identities, size_t count) const;

  // Begins to read blocks that known() has told. `cost`: FLOP of computing one.
  // Error(CACHE_BUDGET).
  std::shared_ptr<Restore> restore(std::vector<Digest> identities, double cost);

  const std::string& tierName(size_t tier) const { return tiers_[tier]->name(); }
  std::vector<TierStats> stats() const;
  // Copies what is kept and not copied yet, then ends. Idempotent.
  void close();

  // Waits until nothing is left to move. For tests, and before a process that goes is asked to.
  void settle();

 private:
  void demoteAll();
  void restoreAll();
  void demote(int32_t block);
  void read(Restore& restore);
  void keep(size_t tier, const Digest& identity, const BlockUse& use, const std::byte* block);
  bool idle() const { return kept_.empty() && restores_.empty() && !busy_; }

  const std::shared_ptr<Pool> pool_;
  const std::vector<std::unique_ptr<Tier>> tiers_;
  const std::function<void()> wake_;
  std::vector<std::byte> staging_;  // of who is busy

  std::mutex mutex_;  // guards the four below
  std::condition_variable work_, settled_;
  std::deque<int32_t> kept_;
  std::deque<std::shared_ptr<Restore>> restores_;
  bool busy_ = false, stopping_ = false;

  std::mutex joining_;
  std::thread demoting_, restoring_;
};

}  // namespace baton
