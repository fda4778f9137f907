// SPDX-License-Identifier: Apache-2.0
// Snapshots: rows of segments outside of the pool, as one run of bytes, in a file or in a stream.
//
//   preamble    64 bytes, little endian: magic with the version of this format; bytes of header and
//               notes, number and bytes of blocks; CRC-32C of everything up to the blocks
//   header      text; whose and what for is the business of who writes it (src/cache/snapshot.ts)
//   notes       bytes that go with it: token ids, soft rows
//   checksums   CRC-32C of every block
//   zeros       up to a whole page
//   blocks      as pool.h lays them out; rows that are not part of the snapshot are zero
//
// Nothing in it is believed: numbers are checked against each other and against what there is, and
// no block becomes readable before its checksum was seen to be right. A checksum tells damage, not
// lies; so what is restored is known under a salt of its own (Segment), and found by nobody who
// computed rows that only claim to be the same.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "cache/pool.h"
#include "cache/segment.h"

namespace baton {

inline constexpr size_t kSnapshotPreamble = 64;

// What a snapshot says before its blocks.
struct SnapshotHead {
  std::string header;
  std::string notes;
  std::vector<uint32_t> checksums;  // by block
  uint64_t blockBytes = 0;

  uint64_t headBytes() const;  // up to the first block
  uint64_t fileBytes() const { return headBytes() + checksums.size() * blockBytes; }
  std::string bytes() const;

  // Of the preamble, what is needed to read on. `available`: bytes that there are in all, where
  // that is known. Error(SNAPSHOT_INVALID) naming the part, Error(KV_MISMATCH) for another version.
  static uint64_t headBytesOf(const std::byte* preamble, std::optional<uint64_t> available);
  // All of it; the same errors.
  static SnapshotHead parse(const std::byte* head, size_t bytes);
};

// What keeps two snapshots, and their rows, apart.
Digest digestOf(const SnapshotHead& head);

// The first block that is not what the head says.
struct SnapshotFault {
  size_t block = 0;
  std::string what;
};

// Rows of segments while they are copied out of the pool: their blocks are held, so that they stay
// what they are whatever happens to the segments. Any thread.
class SnapshotSource {
 public:
  explicit SnapshotSource(std::shared_ptr<Pool> pool) : pool_(std::move(pool)) {}
  ~SnapshotSource();
  SnapshotSource(const SnapshotSource&) = delete;
  SnapshotSource& operator=(const SnapshotSource&) = delete;

  // The first `rows` rows of it, which must be there: Error(OPTION_INVALID).
  void add(Segment& segment, int rows);

  const Pool& pool() const { return *pool_; }
  size_t blocks() const { return blocks_.size(); }
  uint64_t blockBytes() const { return pool_->shape().blockBytes(); }

  // Where the bytes of block `index` are: in the pool or, where that is no memory of this process
  // or the block has other rows too, in `room` [blockBytes], in which case they are put there.
  const std::byte* block(size_t index, std::byte* room) const;

 private:
  std::shared_ptr<Pool> pool_;
  std::vector<int32_t> blocks_;
  std::vector<int> rows_;  // of each block that are part of the snapshot
};

// Writes the file whole or not at all; returns its bytes. `threads`: at most. Errors: IO, ABORTED,
// what Memory throws.
uint64_t writeSnapshot(const std::string& path, const SnapshotSource& source, SnapshotHead head,
                       int threads, bool durable, const std::atomic<int32_t>& cancel);

// Puts the checksums of all blocks into the head: of a stream, it comes before them. The same
// errors.
void sumBlocks(const SnapshotSource& source, SnapshotHead& head, int threads,
               const std::atomic<int32_t>& cancel);

// Reads head or less. Error(IO), Error(SNAPSHOT_INVALID), Error(KV_MISMATCH).
SnapshotHead readSnapshotHead(const ReadFile& file);

// Blocks of a snapshot on their way into the pool, in blocks that nobody else has. Those that
// nobody takes are given back. Any thread.
class SnapshotRestore {
 public:
  // `there`: blocks that are there to be read at most. Error(CACHE_BUDGET): nothing was taken.
  // Error(KV_MISMATCH): blocks of another size.
  SnapshotRestore(std::shared_ptr<Pool> pool, SnapshotHead head, uint64_t there = UINT64_MAX);
  ~SnapshotRestore();
  SnapshotRestore(const SnapshotRestore&) = delete;
  SnapshotRestore& operator=(const SnapshotRestore&) = delete;

  const std::shared_ptr<Pool>& pool() const { return pool_; }

  // Either reads all blocks, once. Errors: IO, ABORTED, what Memory throws.
  void fill(const ReadFile& file, int threads, const std::atomic<int32_t>& cancel);
  // Or takes what follows the head, in pieces, until end(). Bytes behind the last block are a
  // fault.
  void feed(const std::byte* bytes, size_t count);
  void end();

  // Blocks from the first on that are there and right, none before fill() or end(); and what is
  // wrong with the next one.
  size_t whole() const;
  std::optional<SnapshotFault> fault() const;

  // Blocks [first, first + count) of whole(), each once. Whoever takes them holds them.
  std::vector<int32_t> take(size_t first, size_t count);

 private:
  std::byte* place(size_t index) const;
  bool readBlock(const ReadFile& file, size_t index, std::byte* room) const;
  void note(size_t block, const char* what);
  void requireOpen() const;
  size_t wholeLocked() const;

  std::shared_ptr<Pool> pool_;
  SnapshotHead head_;
  mutable std::mutex mutex_;
  bool complete_ = false;        // no block is written any more
  std::vector<int32_t> blocks_;  // -1: taken
  std::optional<SnapshotFault> fault_;
  size_t fed_ = 0;               // blocks that feed() has
  size_t partly_ = 0;            // bytes of the next one
  uint32_t sum_ = 0;             // of them
  std::vector<std::byte> room_;  // of the next one, where the pool is not on the host
};

}  // namespace baton
