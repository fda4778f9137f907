// SPDX-License-Identifier: Apache-2.0
// What a snapshot says of itself, and the rows that go into one.
#include "cache/snapshot.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/crc32c.h"
#include "base/error.h"

namespace baton {
namespace {

constexpr std::string_view kMagic = "BATONSN";  // and the version
constexpr char kVersion = '1';
constexpr uint64_t kPage = 4096;

// Fields of the preamble.
constexpr size_t kHeaderBytesAt = 8, kNotesBytesAt = 16, kBlocksAt = 24, kBlockBytesAt = 32;
constexpr size_t kSumAt = 60;

// Far more than any head has, far less than what overflows.
constexpr uint64_t kMostBytes = uint64_t{1} << 50;

template <class Int>
void put(std::string& to, size_t at, Int value) {
  for (size_t i = 0; i < sizeof(value); ++i) to[at + i] = static_cast<char>(value >> (8 * i));
}

template <class Int>
Int get(const std::byte* from, size_t at) {
  Int value = 0;
  for (size_t i = 0; i < sizeof(value); ++i)
    value |= static_cast<Int>(static_cast<Int>(from[at + i]) << (8 * i));
  return value;
}

[[noreturn]] void damaged(const char* part, const std::string& what) {
  throw Error(code::kSnapshotInvalid,
              "The snapshot is damaged: " + what + ". Take another copy of it, or make a new one.",
              {{"part", part}});
}

uint64_t pages(uint64_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

uint32_t headSum(const std::byte* head, size_t bytes) {
  const uint8_t none[4] = {};
  uint32_t sum = crc32c(0, head, kSumAt);
  sum = crc32c(sum, none, sizeof(none));
  return crc32c(sum, head + kSnapshotPreamble, bytes - kSnapshotPreamble);
}

// The first `rows` rows of a block; the others become zero: whoever had the block before is
// nobody's business, and who goes on writing it behind these rows is not disturbed.
void copyRows(const KvShape& shape, const std::byte* from, std::byte* to, int rows) {
  const auto element = static_cast<size_t>(kvTypeBytes(shape.type));
  const auto width = static_cast<size_t>(shape.headDim);
  const auto count = static_cast<size_t>(rows);
  const size_t elements = kBlockRows * width * element;
  std::memset(to, 0, shape.blockBytes());
  for (int half = 0; half < 2 * shape.layers; ++half) {
    for (int head = 0; head < shape.kvHeads; ++head) {
      if (half % 2 == 0) {  // K, transposed
        for (size_t d = 0; d < width; ++d)
          std::memcpy(to + d * kBlockRows * element, from + d * kBlockRows * element,
                      count * element);
      } else {
        std::memcpy(to, from, count * width * element);
      }
      if (shape.type == KvType::kInt8) std::memcpy(to + elements, from + elements, 2 * count);
      from += shape.headBytes();
      to += shape.headBytes();
    }
  }
}

}  // namespace

// ---- the head

uint64_t SnapshotHead::headBytes() const {
  return pages(kSnapshotPreamble + header.size() + notes.size() + 4 * checksums.size());
}

std::string SnapshotHead::bytes() const {
  std::string all(headBytes(), '\0');
  all.replace(0, kMagic.size(), kMagic);
  all[kMagic.size()] = kVersion;
  put<uint64_t>(all, kHeaderBytesAt, header.size());
  put<uint64_t>(all, kNotesBytesAt, notes.size());
  put<uint64_t>(all, kBlocksAt, checksums.size());
  put<uint64_t>(all, kBlockBytesAt, blockBytes);
  size_t at = kSnapshotPreamble;
  all.replace(at, header.size(), header);
  at += header.size();
  all.replace(at, notes.size(), notes);
  at += notes.size();
  for (const uint32_t sum : checksums) {
    put<uint32_t>(all, at, sum);
    at += 4;
  }
  put<uint32_t>(all, kSumAt, headSum(reinterpret_cast<const std::byte*>(all.data()), all.size()));
  return all;
}

uint64_t SnapshotHead::headBytesOf(const std::byte* preamble, std::optional<uint64_t> available) {
  const auto* text = reinterpret_cast<const char*>(preamble);
  if (std::string_view(text, kMagic.size()) != kMagic)
    damaged("magic", "it does not begin as snapshots do");
  if (text[kMagic.size()] != kVersion) {
    const std::string found(1, text[kMagic.size()]), expected(1, kVersion);
    throw Error(code::kKvMismatch,
                "The snapshot has format version " + found + "; this is version " + expected +
                    ". Restore it with the release that wrote it.",
                {{"field", "format"}, {"expected", expected}, {"found", found}});
  }
  const auto header = get<uint64_t>(preamble, kHeaderBytesAt);
  const auto notes = get<uint64_t>(preamble, kNotesBytesAt);
  const auto blocks = get<uint64_t>(preamble, kBlocksAt);
  const auto blockBytes = get<uint64_t>(preamble, kBlockBytesAt);
  const bool sane = header <= kMostBytes && notes <= kMostBytes && blocks <= kMostBytes / 4 &&
                    blockBytes >= 1 && blockBytes <= kMostBytes &&
                    (blocks == 0 || blockBytes <= kMostBytes / blocks);
  if (!sane) damaged("preamble", "its lengths cannot be right");
  const uint64_t head = pages(kSnapshotPreamble + header + notes + 4 * blocks);
  if (available && head > *available) {
    damaged("head", "its head has " + std::to_string(head) + " bytes and there are " +
                        std::to_string(*available));
  }
  return head;
}

SnapshotHead SnapshotHead::parse(const std::byte* head, size_t bytes) {
  if (bytes < kSnapshotPreamble) damaged("preamble", "it ends in its preamble");
  const uint64_t expected = headBytesOf(head, bytes);
  if (expected != bytes) damaged("head", "its head is longer than it says");
  if (get<uint32_t>(head, kSumAt) != headSum(head, bytes))
    damaged("head", "the checksum of its head is wrong");
  const auto* text = reinterpret_cast<const char*>(head) + kSnapshotPreamble;
  SnapshotHead parsed;
  parsed.header.assign(text, get<uint64_t>(head, kHeaderBytesAt));
  text += parsed.header.size();
  parsed.notes.assign(text, get<uint64_t>(head, kNotesBytesAt));
  const size_t table = kSnapshotPreamble + parsed.header.size() + parsed.notes.size();
  parsed.checksums.resize(get<uint64_t>(head, kBlocksAt));
  for (size_t i = 0; i < parsed.checksums.size(); ++i)
    parsed.checksums[i] = get<uint32_t>(head, table + 4 * i);
  parsed.blockBytes = get<uint64_t>(head, kBlockBytesAt);
  return parsed;
}

Digest digestOf(const SnapshotHead& head) {
  const std::string bytes = head.bytes();
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return hash.digest();
}

// ---- rows that go into one

SnapshotSource::~SnapshotSource() {
  pool_->release(blocks_.data(), blocks_.size());
}

void SnapshotSource::add(Segment& segment, int rows) {
  if (segment.pool() != pool_ || rows < 1) {
    throw Error(code::kOptionInvalid, "a snapshot takes rows of segments of one model, not " +
                                          std::to_string(rows) + " of them");
  }
  segment.hold(rows, blocks_);
  while (rows_.size() < blocks_.size()) {
    rows_.push_back(std::min(rows, kBlockRows));
    rows -= rows_.back();
  }
}

const std::byte* SnapshotSource::block(size_t index, std::byte* room) const {
  const size_t bytes = blockBytes();
  const std::byte* const at = pool_->block(blocks_[index]);
  const int rows = rows_[index];
  if (pool_->memory().onHost()) {
    if (rows == kBlockRows) return at;
    copyRows(pool_->shape(), at, room, rows);
    return room;
  }
  pool_->memory().download(room, at, bytes);
  if (rows < kBlockRows) {
    const std::vector<std::byte> whole(room, room + bytes);
    copyRows(pool_->shape(), whole.data(), room, rows);
  }
  return room;
}

}  // namespace baton
