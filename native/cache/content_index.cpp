// SPDX-License-Identifier: Apache-2.0
#include "cache/content_index.h"

#include <cstring>

namespace baton {
namespace {

uint64_t firstBytes(const Digest& digest) noexcept {
  uint64_t value = 0;
  std::memcpy(&value, digest.data(), sizeof(value));
  return value | 1;  // 0 is an empty slot
}

}  // namespace

size_t ContentIndex::Hash::operator()(const Digest& digest) const noexcept {
  return static_cast<size_t>(firstBytes(digest));
}

void ContentIndex::Memory::add(const Digest& digest) noexcept {
  const uint64_t value = firstBytes(digest);
  slots_[(value >> 1) % kSlots] = value;
}

bool ContentIndex::Memory::has(const Digest& digest) const noexcept {
  const uint64_t value = firstBytes(digest);
  return slots_[(value >> 1) % kSlots] == value;
}

ContentIndex::ContentIndex(size_t budget, const Policy& policy)
    : budget_(budget), ranking_(policy), evicted_(budget > 0), contents_(budget > 0) {}

int32_t ContentIndex::find(const Digest& identity) const {
  const auto found = blockOf_.find(identity);
  return found == blockOf_.end() ? -1 : found->second;
}

void ContentIndex::put(const Digest& identity, int32_t block, const BlockUse& use) {
  const auto at = static_cast<size_t>(block);
  if (entries_.size() <= at) {
    ranking_.reserve(at + 1);
    entries_.resize(at + 1);
  }
  if (entries_[at].named || !blockOf_.emplace(identity, block).second) return;
  entries_[at] = {identity, true, use};
  entries_[at].use.uses = 1;
}

void ContentIndex::noteContent(const Digest& content) noexcept {
  contents_.add(content);
}

ContentIndex::Known ContentIndex::kept(int32_t block) const noexcept {
  if (!ranking_.has(block)) return {nullptr, nullptr};
  const Entry& entry = entries_[static_cast<size_t>(block)];
  return {&entry.identity, &entry.use};
}

bool ContentIndex::keep(int32_t block, const Retention& retention) noexcept {
  const auto at = static_cast<size_t>(block);
  if (at >= entries_.size() || !entries_[at].named) return false;
  if (retention.retain == Retain::kDrop) {
    forget(block);
    return false;
  }
  ranking_.add(block, entries_[at].use, retention);
  return true;
}

void ContentIndex::take(int32_t block) noexcept {
  ranking_.remove(block);
  ++entries_[static_cast<size_t>(block)].use.uses;
}

int32_t ContentIndex::evict() noexcept {
  const int32_t block = ranking_.takeLeast();
  if (block >= 0) forget(block);
  return block;
}

void ContentIndex::forget(int32_t block) noexcept {
  Entry& entry = entries_[static_cast<size_t>(block)];
  evicted_.add(entry.identity);
  blockOf_.erase(entry.identity);
  entry.named = false;
}

MissReason ContentIndex::why(const Digest& identity, const Digest* content) const noexcept {
  if (!on()) return MissReason::kIndexOff;
  if (evicted_.has(identity)) return MissReason::kEvicted;
  if (content != nullptr && contents_.has(*content)) return MissReason::kDifferentFrame;
  return MissReason::kNeverSeen;
}

}  // namespace baton
