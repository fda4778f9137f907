// SPDX-License-Identifier: Apache-2.0
#include "cache/pool.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace baton {
namespace {

bool poisonWanted() {
  const char* wanted = std::getenv("BATON_POISON_CACHE");
  return wanted != nullptr && std::string_view(wanted) == "1";
}

}  // namespace

Pool::Pool(const KvShape& shape, size_t budgetBytes, size_t indexBytes,
           std::shared_ptr<Memory> memory, const Policy& policy)
    : shape_(shape),
      memory_(std::move(memory)),
      poisoned_(poisonWanted()),
      total_(budgetBytes / shape.blockBytes()),
      indexed_(indexBytes >= shape.blockBytes()),
      index_(indexBytes / shape.blockBytes(), policy) {
  if (total_ == 0) {
    throw Error(code::kOptionInvalid,
                "cacheBytes is " + std::to_string(budgetBytes) + ", less than one block of " +
                    std::to_string(shape.blockBytes()) + " bytes; give at least that much",
                {{"cacheBytes", double(budgetBytes)}, {"blockBytes", double(shape.blockBytes())}});
  }
  mappedBytes_ = total_ * shape.blockBytes();
  base_ = memory_->reserve(mappedBytes_, "a KV pool");
  total_ = std::min<size_t>(
      total_, INT32_MAX);  // block numbers; blocks so small that it matters are those of tests
  free_.reserve(1024);
}

Pool::~Pool() {
  memory_->unreserve(base_, mappedBytes_);
}

void Pool::requireLocked(size_t count) const {
  if (total_ - used_ >= count) return;
  const double needed = double(count * shape_.blockBytes());
  const double unused = double((total_ - used_) * shape_.blockBytes());
  throw Error(code::kCacheBudget,
              "the KV pool has " + std::to_string(size_t(unused)) + " bytes free and " +
                  std::to_string(size_t(needed)) +
                  " are needed; raise cacheBytes, shorten the inputs, or run fewer chains at once",
              {{"needed", needed}, {"free", unused}, {"budget", double(mappedBytes_)}});
}

void Pool::require(size_t count) const {
  const std::lock_guard lock(mutex_);
  requireLocked(count);
}

void Pool::allocate(size_t count, std::vector<int32_t>& blocks) {
  const std::lock_guard lock(mutex_);
  requireLocked(count);
  blocks.reserve(blocks.size() + count);
  // Room for every block ever handed out, so that release() never allocates and cannot fail.
  const size_t numbers = std::min(total_, touched_ + count);
  if (holders_.size() < numbers) holders_.resize(std::min(total_, std::max(numbers, 2 * touched_)));
  if (free_.capacity() < holders_.size()) free_.reserve(holders_.size());
  for (size_t i = 0; i < count; ++i) {
    const int32_t block = takeFreeLocked();
    poison(block);
    holders_[static_cast<size_t>(block)] = 1;
    blocks.push_back(block);
  }
  used_ += count;
  peak_ = std::max(peak_, used_);
}

// There is one: free, never used, or kept.
int32_t Pool::takeFreeLocked() {
  if (!free_.empty()) {
    const int32_t block = free_.back();
    free_.pop_back();
    return block;
  }
  if (touched_ < total_) return static_cast<int32_t>(touched_++);
  return index_.evict();
}

void Pool::hold(const int32_t* blocks, size_t count) noexcept {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < count; ++i) ++holders_[static_cast<size_t>(blocks[i])];
}

void Pool::release(const int32_t* blocks, size_t count, const Retention& retention) noexcept {
  const std::lock_guard lock(mutex_);
  for (size_t i = count; i-- > 0;) {
    const int32_t block = blocks[i];
    if (--holders_[static_cast<size_t>(block)] > 0) continue;
    --used_;
    if (!index_.keep(block, retention)) {
      freeLocked(block);
    } else if (listener_ != nullptr) {
      listener_->kept(block);
    }
  }
  while (index_.full()) freeLocked(index_.evict());
}

void Pool::freeLocked(int32_t block) noexcept {
  poison(block);
  free_.push_back(block);
}

void Pool::poison(int32_t block) const noexcept {
  if (!poisoned_) return;
  try {
    memory_->fill(this->block(block), 0xFF, shape_.blockBytes());
  } catch (const Error&) {  // a lost device: nobody reads its blocks any more
  }
}

void Pool::offer(const Digest* identities, const int32_t* blocks, size_t count,
                 const Digest* content, double cost) {
  if (!indexed_) return;
  const std::lock_guard lock(mutex_);
  const BlockUse use{.cost = cost, .bytes = double(shape_.blockBytes())};
  for (size_t i = 0; i < count; ++i) index_.put(identities[i], blocks[i], use);
  if (content != nullptr) index_.noteContent(*content);
}

size_t Pool::known(const Digest* identities, size_t count) const {
  const std::lock_guard lock(mutex_);
  size_t run = 0;
  while (run < count && index_.find(identities[run]) >= 0) ++run;
  return run;
}

size_t Pool::find(const Digest* identities, size_t count, std::vector<int32_t>& blocks) {
  if (!indexed_) return 0;
  blocks.reserve(blocks.size() + count);
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < count; ++i) {
    const int32_t block = index_.find(identities[i]);
    if (block < 0) return i;
    if (holders_[static_cast<size_t>(block)]++ == 0) {
      index_.take(block);
      peak_ = std::max(peak_, ++used_);
    }
    blocks.push_back(block);
  }
  return count;
}

void Pool::tellKept(KeptListener* listener) {
  const std::lock_guard lock(mutex_);
  listener_ = listener;
}

bool Pool::copyKept(int32_t block, std::byte* to, KeptBlock& found) const {
  const std::lock_guard lock(mutex_);
  const ContentIndex::Known known = index_.kept(block);
  if (known.identity == nullptr) return false;
  found = {*known.identity, *known.use};
  if (to == nullptr) return true;
  memory_->download(to, this->block(block), shape_.blockBytes());
  return true;
}

MissReason Pool::why(const Digest& identity, const Digest* content) const {
  const std::lock_guard lock(mutex_);
  return index_.why(identity, content);
}

Pool::Stats Pool::stats() const {
  size_t segments = 0;
  {
    const std::lock_guard lock(membersMutex_);
    segments = members_.size();
  }
  const std::lock_guard lock(mutex_);
  return {total_, used_, peak_, index_.kept(), shape_.blockBytes(), segments};
}

void Pool::enter(const Segment* segment) {
  const std::lock_guard lock(membersMutex_);
  members_.insert(segment);
}

void Pool::leave(const Segment* segment) noexcept {
  const std::lock_guard lock(membersMutex_);
  members_.erase(segment);
}

}  // namespace baton
