// SPDX-License-Identifier: Apache-2.0
#include "cache/policies/ranking.h"

#include <algorithm>
#include <chrono>

namespace baton {

double Ranking::now() {
  using std::chrono::duration;
  return duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Ranking::reserve(size_t blocks) {
  if (blocks <= ranks_.size()) return;
  heap_.reserve(std::max(blocks, 2 * ranks_.size()));
  ranks_.resize(heap_.capacity());
}

bool Ranking::before(int32_t a, int32_t b) const noexcept {
  const Rank &x = ranks_[static_cast<size_t>(a)], &y = ranks_[static_cast<size_t>(b)];
  if ((x.until > 0) != (y.until > 0)) return y.until > 0;
  if (x.worth != y.worth) return x.worth < y.worth;
  return x.added < y.added;
}

void Ranking::put(size_t place, int32_t block) noexcept {
  heap_[place] = block;
  ranks_[static_cast<size_t>(block)].place = static_cast<int32_t>(place);
}

void Ranking::rise(size_t place) noexcept {
  const int32_t block = heap_[place];
  for (; place > 0 && before(block, heap_[(place - 1) / 2]); place = (place - 1) / 2)
    put(place, heap_[(place - 1) / 2]);
  put(place, block);
}

void Ranking::sink(size_t place) noexcept {
  const int32_t block = heap_[place];
  for (;;) {
    size_t child = 2 * place + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && before(heap_[child + 1], heap_[child])) ++child;
    if (!before(heap_[child], block)) break;
    put(place, heap_[child]);
    place = child;
  }
  put(place, block);
}

void Ranking::add(int32_t block, BlockUse& use, const Retention& retention) noexcept {
  if (has(block)) remove(block);
  use.lastUse = ++uses_;
  Rank& rank = ranks_[static_cast<size_t>(block)];
  rank.until = retention.retain == Retain::kResume ? retention.until : 0;
  rank.worth = policy_->worth(use, floor_);
  rank.added = uses_;
  if (rank.until > 0) {
    const bool first = nextUnprotected_ == 0;
    nextUnprotected_ = first ? rank.until : std::min(nextUnprotected_, rank.until);
  }
  heap_.push_back(block);
  rise(heap_.size() - 1);
}

void Ranking::remove(int32_t block) noexcept {
  if (!has(block)) return;
  Rank& rank = ranks_[static_cast<size_t>(block)];
  const auto place = static_cast<size_t>(rank.place);
  rank.place = -1;
  const int32_t last = heap_.back();
  heap_.pop_back();
  if (last == block) return;
  put(place, last);
  rise(place);
  sink(static_cast<size_t>(ranks_[static_cast<size_t>(last)].place));
}

int32_t Ranking::takeLeast() noexcept {
  if (heap_.empty()) return -1;
  if (nextUnprotected_ > 0 && now() >= nextUnprotected_) unprotect();
  const int32_t block = heap_.front();
  floor_ = std::max(floor_, ranks_[static_cast<size_t>(block)].worth);
  remove(block);
  return block;
}

// Ends protections whose time is over. Looks at every block, but only when one may have ended.
void Ranking::unprotect() noexcept {
  const double time = now();
  nextUnprotected_ = 0;
  for (const int32_t block : heap_) {
    Rank& rank = ranks_[static_cast<size_t>(block)];
    if (rank.until > 0 && rank.until <= time) rank.until = 0;
    if (rank.until > 0 && (nextUnprotected_ == 0 || rank.until < nextUnprotected_))
      nextUnprotected_ = rank.until;
  }
  for (size_t place = heap_.size() / 2; place-- > 0;) sink(place);
}

}  // namespace baton
