// SPDX-License-Identifier: Apache-2.0
#include "cache/segment.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/error.h"

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
  if (!spec_.salt.empty()) {
    Sha256 hash;
    hash.update(spec_.salt.data(), spec_.salt.size());
    scope_ += "/salt/" + hash.hex();
  }
  for (const SegmentRead& read : spec_.reads) {
    openDepth_ = std::max(openDepth_, 1 + read.segment->openDepth());
    rowsRead_ += read.rows;
  }
  pool_->enter(this);
}

Segment::~Segment() {
  pool_->leave(this);  // first: a census may be looking at this segment
  pool_->release(blocks_.data(), blocks_.size(), retention_);
}

void Segment::retain(const Retention& retention) {
  const std::lock_guard lock(mutex_);
  retention_ = retention;
}

// All blocks of a segment cost alike: the first ones are worth no less than those that need them.
double Segment::blockCost() const {
  const std::lock_guard lock(mutex_);
  return blockCostLocked();
}

double Segment::blockCostLocked() const {
  const Pool::RowCost& cost = pool_->rowCost();
  return kBlockRows * (cost.row + cost.read * (rowsRead_ + rows_ / 2.0));
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

std::vector<int32_t> Segment::blockNumbers() const {
  const std::lock_guard lock(mutex_);
  return blocks_;
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

void Segment::adopt(const std::vector<int32_t>& blocks, bool whole) {
  const std::lock_guard lock(mutex_);
  blocks_.insert(blocks_.end(), blocks.begin(), blocks.end());
  whole_ = whole;
}

void Segment::commitTokens(const int32_t* ids, int count) {
  const std::lock_guard lock(mutex_);
  chain_.addTokens(ids, count);
  rows_ += count;
}

void Segment::commitRows(const float* rows, int count, int width) {
  const std::lock_guard lock(mutex_);
  chain_.addSoft(rows, count, width);
  rows_ += count;
}

void Segment::truncate(int rows) {
  const std::lock_guard lock(mutex_);
  if (rows > rows_) return;
  rows_ = rows;
  chain_.truncate(rows);
  whole_ = false;
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
  if (!appending_) offerLocked();
}

void Segment::setUnfound() {
  const std::lock_guard lock(mutex_);
  offered_ = true;
}

void Segment::hold(int rows, std::vector<int32_t>& blocks) const {
  const std::lock_guard lock(mutex_);
  if (rows < 0 || rows > rows_) {
    throw Error(code::kOptionInvalid, "a segment of " + std::to_string(rows_) +
                                          " rows does not have " + std::to_string(rows));
  }
  const auto count = static_cast<ptrdiff_t>(blocksFor(rows));
  blocks.insert(blocks.end(), blocks_.begin(), blocks_.begin() + count);
  pool_->hold(blocks_.data(), static_cast<size_t>(count));
}

void Segment::closeUnfound(int rows) {
  const std::vector<int32_t> unnamed(static_cast<size_t>(rows));
  commitTokens(unnamed.data(), rows);
  {
    const std::lock_guard lock(mutex_);
    offered_ = unnamed_ = true;
  }
  close();
}

// Blocks of a closed segment never change again. Failing to be found again is no failure.
void Segment::offerLocked() {
  if (offered_ || rows_ == 0 || !chain_.headed() || !pool_->indexed()) return;
  offered_ = true;
  try {
    std::vector<Digest> identities;
    for (int rows = kBlockRows; rows <= rows_; rows += kBlockRows)
      identities.push_back(chain_.at(rows));
    if (rows_ % kBlockRows != 0) identities.push_back(chain_.at(rows_));
    const Digest content = chain_.content(scope_);
    pool_->offer(identities.data(), blocks_.data(), identities.size(), &content, blockCostLocked());
  } catch (const std::bad_alloc&) {
  }
}

bool Segment::beginAppend() {
  const std::lock_guard lock(mutex_);
  if (closed_ || appending_ || whole_) return false;
  appending_ = true;
  settledRows_ = rows_;
  return true;
}

void Segment::endAppend() {
  const std::lock_guard lock(mutex_);
  appending_ = false;
  if (closed_) offerLocked();
}

bool Segment::appending() const {
  const std::lock_guard lock(mutex_);
  return appending_;
}

void Segment::copyTokens(int rows, std::vector<int32_t>& into) const {
  const std::lock_guard lock(mutex_);
  if (unnamed_) {
    into.insert(into.end(), static_cast<size_t>(rows), -1);
  } else {
    chain_.copyTokens(rows, into);
  }
}

bool Segment::sealHead() const {
  if (chain_.headed()) return true;
  if (closed_) return false;  // closed before what it read was written: it never had an identity
  std::vector<Digest> identities;
  for (const SegmentRead& read : spec_.reads) {
    const std::optional<Digest> identity = read.segment->digest(read.rows);
    if (!identity) return false;
    identities.push_back(*identity);
  }
  chain_.setHead(headOf(spec_.reads, identities));
  return true;
}

Digest Segment::headOf(const std::vector<SegmentRead>& reads,
                       const std::vector<Digest>& identities) const {
  Sha256 hash;
  hash.update(scope_.data(), scope_.size());
  updateInt(hash, static_cast<int64_t>(spec_.kind));
  updateInt(hash, spec_.start);
  for (size_t i = 0; i < reads.size(); ++i) {
    hash.update(identities[i].data(), identities[i].size());
    updateInt(hash, reads[i].rows);
    updateInt(hash, reads[i].shift);
  }
  return hash.digest();
}

IdentityChain Segment::chainAfter(const std::vector<SegmentRead>& reads,
                                  const std::vector<Digest>& identities) const {
  const std::lock_guard lock(mutex_);
  IdentityChain chain = chain_;
  if (!chain.headed()) chain.setHead(headOf(reads, identities));
  return chain;
}

std::optional<Digest> Segment::digest(int rows) const {
  const std::lock_guard lock(mutex_);
  if (rows > (appending_ ? settledRows_ : rows_) || !sealHead()) return std::nullopt;
  return chain_.at(rows);
}

std::string Segment::identity(int rows) const {
  const std::optional<Digest> found = digest(rows);
  return found ? Sha256::toHex(*found) : std::string();
}

}  // namespace baton
