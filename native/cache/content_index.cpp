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

ContentIndex::ContentIndex(size_t budget)
    : budget_(budget), evicted_(budget > 0), contents_(budget > 0) {}

int32_t ContentIndex::find(const Digest& identity) const {
  const auto found = blockOf_.find(identity);
  return found == blockOf_.end() ? -1 : found->second;
}

void ContentIndex::put(const Digest& identity, int32_t block) {
  const auto at = static_cast<size_t>(block);
  if (entries_.size() <= at) entries_.resize(at + 1);
  if (entries_[at].named || !blockOf_.emplace(identity, block).second) return;
  entries_[at].identity = identity;
  entries_[at].named = true;
}

void ContentIndex::noteContent(const Digest& content) noexcept {
  contents_.add(content);
}

bool ContentIndex::keep(int32_t block) noexcept {
  const auto at = static_cast<size_t>(block);
  if (at >= entries_.size() || !entries_[at].named) return false;
  Entry& entry = entries_[at];
  entry.kept = true;
  entry.before = newest_;
  entry.after = -1;
  if (newest_ >= 0) entries_[static_cast<size_t>(newest_)].after = block;
  newest_ = block;
  if (oldest_ < 0) oldest_ = block;
  ++kept_;
  return true;
}

void ContentIndex::take(int32_t block) noexcept {
  unlink(entries_[static_cast<size_t>(block)]);
}

void ContentIndex::unlink(Entry& entry) noexcept {
  if (!entry.kept) return;
  (entry.before >= 0 ? entries_[static_cast<size_t>(entry.before)].after : oldest_) = entry.after;
  (entry.after >= 0 ? entries_[static_cast<size_t>(entry.after)].before : newest_) = entry.before;
  entry.kept = false;
  --kept_;
}

int32_t ContentIndex::evict() noexcept {
  const int32_t block = oldest_;
  if (block < 0) return -1;
  Entry& entry = entries_[static_cast<size_t>(block)];
  unlink(entry);
  evicted_.add(entry.identity);
  blockOf_.erase(entry.identity);
  entry.named = false;
  return block;
}

MissReason ContentIndex::why(const Digest& identity, const Digest* content) const noexcept {
  if (!on()) return MissReason::kIndexOff;
  if (evicted_.has(identity)) return MissReason::kEvicted;
  if (content != nullptr && contents_.has(*content)) return MissReason::kDifferentFrame;
  return MissReason::kNeverSeen;
}

}  // namespace baton
