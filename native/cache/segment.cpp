// SPDX-License-Identifier: Apache-2.0
#include "cache/segment.h"

#include <algorithm>
#include <utility>

namespace baton {
namespace {

void updateInt(Sha256& hash, int64_t value) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; ++i)
    bytes[i] = static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i));
  hash.update(bytes, 8);
}

size_t blocksFor(int rows) {
  return static_cast<size_t>((rows + kBlockRows - 1) / kBlockRows);
}

}  // namespace

Segment::Segment(std::shared_ptr<Pool> pool, SegmentSpec spec, std::string scope)
    : pool_(std::move(pool)), spec_(std::move(spec)), scope_(std::move(scope)) {
  for (const SegmentRead& read : spec_.reads)
    openDepth_ = std::max(openDepth_, 1 + read.segment->openDepth());
  pool_->countSegment(1);
}

Segment::~Segment() {
  pool_->release(blocks_.data(), blocks_.size());
  pool_->countSegment(-1);
}

int Segment::rows() const {
  const std::lock_guard lock(mutex_);
  return rows_;
}

bool Segment::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

size_t Segment::blockCount() const {
  const std::lock_guard lock(mutex_);
  return blocks_.size();
}

int Segment::openDepth() const {
  const std::lock_guard lock(mutex_);
  return closed_ ? 0 : openDepth_;
}

std::vector<SegmentRead> Segment::reads() const {
  const std::lock_guard lock(mutex_);
  return spec_.reads;
}

const int32_t* Segment::reserve(int rows) {
  const std::lock_guard lock(mutex_);
  const size_t needed = blocksFor(rows);
  if (needed > blocks_.size()) pool_->allocate(needed - blocks_.size(), blocks_);
  return blocks_.data();
}

size_t Segment::blocksMissing(int rows) const {
  const std::lock_guard lock(mutex_);
  const size_t needed = blocksFor(rows);
  return needed > blocks_.size() ? needed - blocks_.size() : 0;
}

void Segment::commitTokens(const int32_t* ids, int count) {
  const std::lock_guard lock(mutex_);
  tokens_.insert(tokens_.end(), ids, ids + count);
  rows_ += count;
}

void Segment::commitRows(const float* rows, int count, int width) {
  const std::lock_guard lock(mutex_);
  for (int r = 0; r < count; ++r) {
    Sha256 hash;
    hash.update(rows + static_cast<size_t>(r) * width, static_cast<size_t>(width) * sizeof(float));
    softRows_.push_back(hash.digest());
    tokens_.push_back(-static_cast<int32_t>(softRows_.size()));
  }
  rows_ += count;
}

void Segment::truncate(int rows) {
  const std::lock_guard lock(mutex_);
  if (rows > rows_) return;
  rows_ = rows;
  for (; tokens_.size() > static_cast<size_t>(rows); tokens_.pop_back()) {
    if (tokens_.back() < 0) softRows_.pop_back();
  }
  if (chained_.size() > static_cast<size_t>(rows / kBlockRows))
    chained_.resize(static_cast<size_t>(rows / kBlockRows));
  const size_t keep = blocksFor(rows);
  pool_->release(blocks_.data() + keep, blocks_.size() - keep);
  blocks_.resize(keep);
}

void Segment::close() {
  std::vector<SegmentRead> dropped;  // destroyed after the lock is gone: releasing may cascade
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  sealHead();
  closed_ = true;
  dropped.swap(spec_.reads);
}

bool Segment::beginAppend() {
  const std::lock_guard lock(mutex_);
  if (closed_ || appending_) return false;
  appending_ = true;
  return true;
}

void Segment::endAppend() {
  const std::lock_guard lock(mutex_);
  appending_ = false;
}

bool Segment::appending() const {
  const std::lock_guard lock(mutex_);
  return appending_;
}

bool Segment::sealHead() const {
  if (headSealed_) return true;
  if (closed_) return false;  // closed before what it read was written: it never had an identity
  Sha256 hash;
  hash.update(scope_.data(), scope_.size());
  updateInt(hash, static_cast<int64_t>(spec_.kind));
  updateInt(hash, spec_.start);
  for (const SegmentRead& read : spec_.reads) {
    const std::string identity = read.segment->identity(read.rows);
    if (identity.empty()) return false;
    hash.update(identity.data(), identity.size());
    updateInt(hash, read.rows);
    updateInt(hash, read.shift);
  }
  head_ = hash.digest();
  headSealed_ = true;
  return true;
}

Digest Segment::chain(int rows) const {
  const size_t fullBlocks = static_cast<size_t>(rows / kBlockRows);
  const auto extend = [this](const Digest& before, int begin, int end) {
    Sha256 hash;
    hash.update(before.data(), before.size());
    for (int row = begin; row < end; ++row) {
      const int32_t token = tokens_[static_cast<size_t>(row)];
      if (token >= 0) {
        updateInt(hash, token);
      } else {
        const Digest& soft = softRows_[static_cast<size_t>(-1 - token)];
        hash.update(soft.data(), soft.size());
      }
    }
    return hash.digest();
  };
  while (chained_.size() < fullBlocks) {
    const int begin = static_cast<int>(chained_.size()) * kBlockRows;
    chained_.push_back(
        extend(chained_.empty() ? head_ : chained_.back(), begin, begin + kBlockRows));
  }
  const Digest& before = fullBlocks == 0 ? head_ : chained_[fullBlocks - 1];
  const int rest = static_cast<int>(fullBlocks) * kBlockRows;
  return rest == rows ? before : extend(before, rest, rows);
}

std::string Segment::identity(int rows) const {
  const std::lock_guard lock(mutex_);
  if (rows > rows_ || !sealHead()) return {};
  return Sha256::toHex(chain(rows));
}

}  // namespace baton
