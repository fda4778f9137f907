// SPDX-License-Identifier: Apache-2.0
#include "cache/tiers/mover.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/threads.h"

namespace baton {

Restore::Restore(std::shared_ptr<Pool> pool, std::vector<Digest> identities, double cost)
    : pool_(std::move(pool)), identities_(std::move(identities)), cost_(cost) {
  pool_->allocate(identities_.size(), blocks_);
}

Restore::~Restore() {
  pool_->release(blocks_.data(), blocks_.size());
}

bool Restore::has(const Digest& identity) const {
  return std::find(identities_.begin(), identities_.end(), identity) != identities_.end();
}

Mover::Mover(std::shared_ptr<Pool> pool, std::vector<std::unique_ptr<Tier>> tiers,
             std::function<void()> wake)
    : pool_(std::move(pool)),
      tiers_(std::move(tiers)),
      wake_(std::move(wake)),
      staging_(pool_->shape().blockBytes()) {
  try {
    demoting_ = std::thread([this] { demoteAll(); });
    restoring_ = std::thread([this] { restoreAll(); });
  } catch (...) {
    close();
    throw;
  }
  pool_->tellKept(this);
}

Mover::~Mover() {
  close();
}

void Mover::close() {
  pool_->tellKept(nullptr);
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    work_.notify_all();
  }
  const std::lock_guard lock(joining_);
  for (std::thread* const thread : {&restoring_, &demoting_}) {
    if (thread->joinable()) thread->join();
  }
}

void Mover::settle() {
  std::unique_lock lock(mutex_);
  settled_.wait(lock, [this] { return idle(); });
}

void Mover::kept(int32_t block) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    kept_.push_back(block);
    work_.notify_all();
  } catch (const std::bad_alloc&) {  // then it is computed again if it is needed
  }
}

Mover::Known Mover::known(const Digest* identities, size_t count) const {
  Known found;
  const double bytes = double(pool_->shape().blockBytes());
  bool measured = true;
  while (found.count < count) {
    size_t tier = 0;
    size_t run = 0;
    for (; tier < tiers_.size() && run == 0; ++tier)
      run = tiers_[tier]->known(identities + found.count, count - found.count);
    if (run == 0) break;
    const double speed = tiers_[--tier]->stats().bytesPerSecond;
    measured = measured && speed > 0;
    if (speed > 0) found.seconds += double(run) * bytes / speed;
    found.count += run;
    found.tier = std::max(found.tier, tier);
  }
  if (!measured) found.seconds = 0;
  return found;
}

std::shared_ptr<Restore> Mover::restore(std::vector<Digest> identities, double cost) {
  auto restore = std::make_shared<Restore>(pool_, std::move(identities), cost);
  const std::lock_guard lock(mutex_);
  restores_.push_back(restore);
  work_.notify_all();
  return restore;
}

std::vector<TierStats> Mover::stats() const {
  std::vector<TierStats> all;
  for (const std::unique_ptr<Tier>& tier : tiers_) all.push_back(tier->stats());
  return all;
}

// Not while a restore waits or is under way: somebody waits for that.
void Mover::demoteAll() {
  lowerThreadPriority();
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return kept_.empty() ? stopping_ : restores_.empty() && !busy_; });
    if (kept_.empty()) return;
    const int32_t block = kept_.front();
    kept_.pop_front();
    busy_ = true;
    lock.unlock();
    try {
      demote(block);
    } catch (const std::exception&) {  // a lost device, no memory: it is computed again then
    }
    lock.lock();
    busy_ = false;
    if (!restores_.empty()) work_.notify_all();
    if (idle()) settled_.notify_all();
  }
}

void Mover::restoreAll() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return restores_.empty() ? stopping_ : !busy_; });
    if (restores_.empty()) return;
    std::shared_ptr<Restore> restore = std::move(restores_.front());
    restores_.pop_front();
    busy_ = true;
    lock.unlock();
    try {
      read(*restore);
    } catch (const std::exception&) {  // as if nothing were there
    }
    restore->done_ = true;
    restore.reset();
    wake_();
    lock.lock();
    busy_ = false;
    if (!kept_.empty()) work_.notify_all();
    if (idle()) settled_.notify_all();
  }
}

void Mover::demote(int32_t block) {
  Pool::KeptBlock found;
  if (!pool_->copyKept(block, nullptr, found)) return;  // somebody has it again, or it is gone
  const bool there = tiers_[0]->has(found.identity);
  if (there || pool_->copyKept(block, staging_.data(), found))
    keep(0, found.identity, found.use, staging_.data());
}

void Mover::keep(size_t tier, const Digest& identity, const BlockUse& use, const std::byte* block) {
  class Next : public Tier::Spill {
   public:
    Next(Mover& mover, size_t next) : mover_(mover), next_(next) {}
    void spill(const Digest& of, const BlockUse& used, const std::byte* bytes) override {
      mover_.keep(next_, of, used, bytes);
    }

   private:
    Mover& mover_;
    size_t next_;
  };
  Next next(*this, tier + 1);
  tiers_[tier]->put(identity, use, block, tier + 1 < tiers_.size() ? &next : nullptr);
}

void Mover::read(Restore& restore) {
  const auto begin = std::chrono::steady_clock::now();
  const size_t bytes = pool_->shape().blockBytes();
  const bool onHost = pool_->memory().onHost();
  for (size_t i = 0; i < restore.blocks_.size(); ++i) {
    std::byte* const block = pool_->block(restore.blocks_[i]);
    std::byte* const to = onHost ? block : staging_.data();
    bool there = false;
    for (const std::unique_ptr<Tier>& tier : tiers_) {
      there = tier->take(restore.identities_[i], to);
      if (there) break;
    }
    if (!there) break;  // those after it are of no use without it
    if (!onHost) pool_->memory().upload(block, to, bytes);
    ++restore.came_;
  }
  pool_->offer(restore.identities_.data(), restore.blocks_.data(), restore.came_, nullptr,
               restore.cost_);
  const auto took = std::chrono::steady_clock::now() - begin;
  restore.milliseconds_ = std::chrono::duration<double, std::milli>(took).count();
}

}  // namespace baton
