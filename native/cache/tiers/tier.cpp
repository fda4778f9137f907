// SPDX-License-Identifier: Apache-2.0
#include "cache/tiers/tier.h"

#include <chrono>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/warnings.h"

namespace baton {
namespace {

// Of the newest reading in the figure.
constexpr double kNewest = 0.2;

double secondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

size_t Tier::Hash::operator()(const Digest& digest) const noexcept {
  size_t value = 0;
  std::memcpy(&value, digest.data(), sizeof(value));
  return value;
}

Tier::Tier(std::string name, std::unique_ptr<TierStorage> storage, const Policy& policy)
    : name_(std::move(name)), storage_(std::move(storage)), ranking_(policy) {
  const int32_t slots = storage_->slots();
  entries_.resize(static_cast<size_t>(slots));
  ranking_.reserve(entries_.size());
  stats_.name = name_;
  stats_.budgetBytes = entries_.size() * storage_->slotBytes();
  std::vector<bool> used(entries_.size());
  for (TierStorage::Stored& stored : storage_->contents()) {
    const auto at = static_cast<size_t>(stored.slot);
    if (!slotOf_.emplace(stored.identity, stored.slot).second) continue;
    used[at] = true;
    entries_[at] = {stored.identity, stored.use};
    ranking_.add(stored.slot, entries_[at].use, {});
  }
  for (int32_t slot = slots; slot-- > 0;) {
    if (!used[static_cast<size_t>(slot)]) free_.push_back(slot);
  }
}

size_t Tier::known(const Digest* identities, size_t count) const {
  const std::lock_guard lock(mutex_);
  size_t run = 0;
  while (run < count && slotOf_.count(identities[run]) > 0) ++run;
  return run;
}

// A slot that nobody else finds. What is given up to have it is spilled before it is written over.
int32_t Tier::slotFor(const Digest& identity, Spill* spill) {
  Entry evicted;
  int32_t slot = -1;
  {
    const std::lock_guard lock(mutex_);
    const auto found = slotOf_.find(identity);
    if (found != slotOf_.end()) {  // only its use is new
      ranking_.add(found->second, entries_[static_cast<size_t>(found->second)].use, {});
      return -1;
    }
    if (!stats_.writes) return -1;
    if (!free_.empty()) {
      slot = free_.back();
      free_.pop_back();
      return slot;
    }
    slot = ranking_.takeLeast();
    if (slot < 0) return -1;
    evicted = entries_[static_cast<size_t>(slot)];
    slotOf_.erase(evicted.identity);
    ++stats_.evicted;
  }
  if (spill != nullptr && storage_->read(slot, spilled_.data()))
    spill->spill(evicted.identity, evicted.use, spilled_.data());
  storage_->forget(slot);
  return slot;
}

void Tier::put(const Digest& identity, const BlockUse& use, const std::byte* block, Spill* spill) {
  if (spill != nullptr) spilled_.resize(storage_->slotBytes());
  const int32_t slot = slotFor(identity, spill);
  if (slot < 0) return;
  const bool written = storage_->write(slot, identity, use, block);
  const std::lock_guard lock(mutex_);
  if (!written) {
    free_.push_back(slot);
    refuse();
    return;
  }
  Entry& entry = entries_[static_cast<size_t>(slot)];
  entry = {identity, use};
  slotOf_.emplace(identity, slot);
  ranking_.add(slot, entry.use, {});
  ++stats_.written;
}

void Tier::refuse() {
  if (!std::exchange(stats_.writes, false)) return;
  warn(Error(code::kTierEnded,
             "the " + name_ +
                 " tier of the KV cache cannot be written any more (is its disk full?); rows that "
                 "are given up from now on are computed again when they are needed",
             {{"tier", name_}}));
}

bool Tier::take(const Digest& identity, std::byte* to) {
  int32_t slot = -1;
  {
    const std::lock_guard lock(mutex_);
    const auto found = slotOf_.find(identity);
    if (found == slotOf_.end()) return false;
    slot = found->second;
  }
  const auto begin = std::chrono::steady_clock::now();
  const bool whole = storage_->read(slot, to);
  const double seconds = secondsSince(begin);
  const std::lock_guard lock(mutex_);
  if (!whole) {
    ++stats_.damaged;
    ranking_.remove(slot);
    slotOf_.erase(identity);
    storage_->forget(slot);
    free_.push_back(slot);
    return false;
  }
  Entry& entry = entries_[static_cast<size_t>(slot)];
  ++entry.use.uses;
  ranking_.add(slot, entry.use, {});
  storage_->note(slot, entry.identity, entry.use);
  ++stats_.read;
  const double speed = double(storage_->slotBytes()) / std::max(seconds, 1e-9);
  double& known = stats_.bytesPerSecond;
  known = known == 0 ? speed : known + kNewest * (speed - known);
  return true;
}

TierStats Tier::stats() const {
  const std::lock_guard lock(mutex_);
  TierStats stats = stats_;
  stats.blocks = slotOf_.size();
  stats.usedBytes = stats.blocks * storage_->slotBytes();
  return stats;
}

}  // namespace baton
