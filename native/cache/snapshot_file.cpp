// SPDX-License-Identifier: Apache-2.0
// Blocks of snapshots to and from files and streams. A block is summed in pieces that a core's
// cache holds, right before it is written or right after it was read, so that its checksum costs
// no second way through memory.
#include <algorithm>
#include <cstring>
#include <exception>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/threads.h"
#include "cache/snapshot.h"

namespace baton {
namespace {

constexpr size_t kPiece = size_t{256} << 10;

[[noreturn]] void stopped() {
  throw Error(code::kAborted, "the snapshot was aborted");
}

// fn(index, room) for indices in ascending order, on a few threads, until it returns false or
// throws; `room` [roomBytes] is the thread's own. Rethrows what was thrown.
template <class Fn>
void forBlocks(size_t count, int threads, size_t roomBytes, const std::atomic<int32_t>& cancel,
               const Fn& fn) {
  std::atomic<size_t> next{0};
  std::atomic<bool> done{false};
  std::mutex mutex;
  std::exception_ptr thrown;
  ThreadPool workers(static_cast<int>(std::clamp<size_t>(count, 1, static_cast<size_t>(threads))));
  workers.run([&](int) {
    try {
      std::vector<std::byte> room(roomBytes);
      while (!done) {
        const size_t index = next.fetch_add(1);
        if (index >= count) return;
        if (cancel != 0) stopped();
        if (!fn(index, room.data())) done = true;
      }
    } catch (...) {
      done = true;
      const std::lock_guard lock(mutex);
      if (thrown == nullptr) thrown = std::current_exception();
    }
  });
  if (thrown != nullptr) std::rethrow_exception(thrown);
}

}  // namespace

uint64_t writeSnapshot(const std::string& path, const SnapshotSource& source, SnapshotHead head,
                       int threads, bool durable, const std::atomic<int32_t>& cancel) {
  head.blockBytes = source.blockBytes();
  head.checksums.assign(source.blocks(), 0);
  const uint64_t first = head.headBytes(), all = head.fileBytes();
  WholeFile file(path);
  forBlocks(source.blocks(), threads, head.blockBytes, cancel, [&](size_t index, std::byte* room) {
    const std::byte* const block = source.block(index, room);
    uint32_t sum = 0;
    for (size_t at = 0; at < head.blockBytes; at += kPiece) {
      const size_t bytes = std::min<size_t>(kPiece, head.blockBytes - at);
      sum = crc32c(sum, block + at, bytes);
      file.writeAt(first + index * head.blockBytes + at, block + at, bytes, all);
    }
    head.checksums[index] = sum;
    return true;
  });
  const std::string bytes = head.bytes();
  file.writeAt(0, bytes.data(), bytes.size(), all);
  if (cancel != 0) stopped();
  file.publish(durable);
  return all;
}

void sumBlocks(const SnapshotSource& source, SnapshotHead& head, int threads,
               const std::atomic<int32_t>& cancel) {
  head.blockBytes = source.blockBytes();
  head.checksums.assign(source.blocks(), 0);
  forBlocks(source.blocks(), threads, head.blockBytes, cancel, [&](size_t index, std::byte* room) {
    head.checksums[index] = crc32c(0, source.block(index, room), head.blockBytes);
    return true;
  });
}

SnapshotHead readSnapshotHead(const ReadFile& file) {
  std::byte preamble[kSnapshotPreamble] = {};
  if (file.readAt(0, preamble, sizeof(preamble)) < sizeof(preamble))
    return SnapshotHead::parse(preamble, 0);  // says so
  const uint64_t bytes = SnapshotHead::headBytesOf(preamble, file.size());
  std::vector<std::byte> head(bytes);
  return SnapshotHead::parse(head.data(), file.readAt(0, head.data(), head.size()));
}

// ---- into the pool

SnapshotRestore::SnapshotRestore(std::shared_ptr<Pool> pool, SnapshotHead head, uint64_t there)
    : pool_(std::move(pool)), head_(std::move(head)) {
  const uint64_t expected = pool_->shape().blockBytes();
  if (head_.blockBytes != expected) {
    throw Error(code::kKvMismatch,
                "The snapshot has blocks of " + std::to_string(head_.blockBytes) +
                    " bytes; this model's have " + std::to_string(expected) +
                    ". Restore it with the model and the kvType that it was made with.",
                {{"field", "blockBytes"},
                 {"expected", std::to_string(expected)},
                 {"found", std::to_string(head_.blockBytes)}});
  }
  const size_t count = std::min<uint64_t>(head_.checksums.size(), there);
  pool_->allocate(count, blocks_);
  if (count < head_.checksums.size()) note(count, "the file ends before its end");
}

SnapshotRestore::~SnapshotRestore() {
  std::erase(blocks_, -1);
  pool_->release(blocks_.data(), blocks_.size());
}

std::byte* SnapshotRestore::place(size_t index) const {
  return pool_->block(blocks_[index]);
}

void SnapshotRestore::note(size_t block, const char* what) {
  if (!fault_ || fault_->block > block) fault_ = {block, what};
}

bool SnapshotRestore::readBlock(const ReadFile& file, size_t index, std::byte* room) const {
  const bool onHost = pool_->memory().onHost();
  const uint64_t offset = head_.headBytes() + index * head_.blockBytes;
  std::byte* const to = onHost ? place(index) : room;
  uint32_t sum = 0;
  for (size_t at = 0; at < head_.blockBytes; at += kPiece) {
    const size_t bytes = std::min<size_t>(kPiece, head_.blockBytes - at);
    const size_t got = file.readAt(offset + at, to + at, bytes);
    sum = crc32c(sum, to + at, got);
    if (got < bytes) return false;
  }
  if (!onHost) pool_->memory().upload(place(index), room, head_.blockBytes);
  return sum == head_.checksums[index];
}

void SnapshotRestore::requireOpen() const {
  if (complete_) throw Error(code::kOptionInvalid, "the blocks of the snapshot were read already");
}

size_t SnapshotRestore::wholeLocked() const {
  return !complete_ ? 0 : fault_ ? fault_->block : blocks_.size();
}

size_t SnapshotRestore::whole() const {
  const std::lock_guard lock(mutex_);
  return wholeLocked();
}

std::optional<SnapshotFault> SnapshotRestore::fault() const {
  const std::lock_guard lock(mutex_);
  return fault_;
}

// Every block before the first that is wrong is seen to be right: they are taken in order.
void SnapshotRestore::fill(const ReadFile& file, int threads, const std::atomic<int32_t>& cancel) {
  const std::lock_guard lock(mutex_);
  requireOpen();
  std::mutex noting;
  const size_t room = pool_->memory().onHost() ? 0 : head_.blockBytes;
  forBlocks(blocks_.size(), threads, room, cancel, [&](size_t index, std::byte* space) {
    if (readBlock(file, index, space)) return true;
    const std::lock_guard one(noting);
    note(index, "its checksum is wrong");
    return false;
  });
  if (!fault_ && file.size() != head_.fileBytes()) note(blocks_.size(), "bytes follow behind it");
  complete_ = true;
}

void SnapshotRestore::feed(const std::byte* bytes, size_t count) {
  const std::lock_guard lock(mutex_);
  requireOpen();
  const bool onHost = pool_->memory().onHost();
  if (!onHost) room_.resize(head_.blockBytes);
  while (count > 0 && !fault_) {
    if (fed_ == blocks_.size()) return note(fed_, "bytes follow behind it");
    std::byte* const to = onHost ? place(fed_) : room_.data();
    const size_t now = std::min<size_t>({count, head_.blockBytes - partly_, kPiece});
    std::memcpy(to + partly_, bytes, now);
    sum_ = crc32c(sum_, to + partly_, now);
    bytes += now;
    count -= now;
    partly_ += now;
    if (partly_ < head_.blockBytes) continue;
    if (!onHost) pool_->memory().upload(place(fed_), room_.data(), head_.blockBytes);
    if (sum_ != head_.checksums[fed_]) return note(fed_, "its checksum is wrong");
    ++fed_;
    partly_ = 0;
    sum_ = 0;
  }
}

void SnapshotRestore::end() {
  const std::lock_guard lock(mutex_);
  if (fed_ < blocks_.size()) note(fed_, "the stream ends before its end");
  complete_ = true;
}

std::vector<int32_t> SnapshotRestore::take(size_t first, size_t count) {
  const std::lock_guard lock(mutex_);
  const size_t whole = wholeLocked();
  if (first > whole || count > whole - first) {
    throw Error(code::kOptionInvalid, "the snapshot has " + std::to_string(whole) +
                                          " whole blocks, not those from " + std::to_string(first) +
                                          " to " + std::to_string(first + count));
  }
  const auto begin = blocks_.begin() + static_cast<ptrdiff_t>(first);
  const auto end = begin + static_cast<ptrdiff_t>(count);
  if (std::find(begin, end, -1) != end)
    throw Error(code::kOptionInvalid, "two segments cannot have the same blocks of a snapshot");
  std::vector<int32_t> taken(begin, end);
  std::fill(begin, end, -1);
  return taken;
}

}  // namespace baton
