// SPDX-License-Identifier: Apache-2.0
// Files: they outlive the process. A folder holds two files for each content that a block's bytes
// are good for, `<scope>.index` and `<scope>.blocks`, both in slots of one size. A slot is emptied
// in the index before its block is written over and named after, and index and block have
// checksums: whatever a killed process leaves behind is the block that the index names, or none.
//
// One owner at a time: the index is locked for as long as it is open, which ends with the process.
// Files of other contents are there for whoever comes back to them, and go, the longest unused
// first, when this one needs their share of the budget.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/file.h"
#include "cache/tiers/tier.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndexSuffix = ".index";
constexpr const char* kBlocksSuffix = ".blocks";
constexpr uint64_t kMagic = 0x3154'564b'4e4f'5442;  // "BTONKVT1"

// The first record of an index, and one a slot. Within a page, so that it is written whole or not.
struct alignas(128) Record {
  uint64_t magic = 0;  // 0: an empty slot
  uint64_t bytes = 0;  // of a block
  Digest identity{};   // of the scope, in the first record
  double uses = 0, cost = 0;
  double order = 0;  // of use among all slots
  uint32_t blockChecksum = 0;
  uint32_t checksum = 0;  // of all before
};
static_assert(sizeof(Record) == 128);

uint32_t checksumOf(const Record& record) {
  return crc32c(0, &record, offsetof(Record, checksum));
}

[[noreturn]] void refuse(const std::string& path, const std::string& why, const char* remedy) {
  throw Error(code::kIo, "The KV cache on disk, " + path + ", " + why + ". " + remedy,
              {{"path", path}, {"reason", why}});
}

class File {
 public:
  File() = default;
  explicit File(const std::string& path)
      : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool isOpen() const { return fd_ >= 0; }
  bool lock() const { return takeLock(fd_); }
  bool truncate(size_t bytes) const { return ::ftruncate(fd_, static_cast<off_t>(bytes)) == 0; }
  size_t size() const {
    struct stat status{};
    return ::fstat(fd_, &status) == 0 ? static_cast<size_t>(status.st_size) : 0;
  }

  bool write(size_t offset, const void* from, size_t bytes) const {
    return writeFully(fd_, offset, from, bytes);
  }
  // False also for a file that somebody has cut off.
  bool read(size_t offset, void* to, size_t bytes) const {
    return readFully(fd_, offset, to, bytes) == static_cast<int64_t>(bytes);
  }

 private:
  int fd_ = -1;
};

Digest digestOf(const std::string& scope) {
  Sha256 hash;
  hash.update(scope.data(), scope.size());
  return hash.digest();
}

class DiskStorage : public TierStorage {
 public:
  DiskStorage(const TierSpec& spec, const TierContent& content)
      : folder_(prepared(spec.folder)),
        scope_(digestOf(content.scope)),
        stem_((fs::path(folder_) / ("kv-" + Sha256::toHex(scope_).substr(0, 32))).string()),
        blockBytes_(content.blockBytes),
        budget_(spec.bytes),
        index_(stem_ + kIndexSuffix),
        blocks_(stem_ + kBlocksSuffix) {
    if (!index_.isOpen() || !blocks_.isOpen())
      refuse(stem_, "cannot be opened: " + systemReason(errno),
             "Check the folder and its permissions.");
    if (!index_.lock()) {
      refuse(stem_, "is in use by another process or model",
             "Give each a folder of its own, or close the other one.");
    }
    slots_ = static_cast<int32_t>(
        std::min<size_t>((budget_ - std::min(budget_, bytesInUse())) / slotBytes(), INT32_MAX));
    checksums_.resize(static_cast<size_t>(slots_));
    readIndex();
  }

  int32_t slots() const override { return slots_; }
  size_t slotBytes() const override { return blockBytes_ + sizeof(Record); }
  std::vector<Stored> contents() override { return std::move(contents_); }

  bool write(int32_t slot, const Digest& identity, const BlockUse& use,
             const std::byte* block) override {
    makeRoom(slot);
    checksums_[static_cast<size_t>(slot)] = crc32c(0, block, blockBytes_);
    return blocks_.write(static_cast<size_t>(slot) * blockBytes_, block, blockBytes_) &&
           name(slot, identity, use);
  }

  bool read(int32_t slot, std::byte* to) override {
    return blocks_.read(static_cast<size_t>(slot) * blockBytes_, to, blockBytes_) &&
           crc32c(0, to, blockBytes_) == checksums_[static_cast<size_t>(slot)];
  }

  void note(int32_t slot, const Digest& identity, const BlockUse& use) override {
    name(slot, identity, use);  // failing that, it goes earlier than it might
  }

  void forget(int32_t slot) override { put(slot, Record{}); }

 private:
  static std::string prepared(const std::string& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) {
      refuse(folder, "cannot be made: " + error.message(), "Check the path and its permissions.");
    }
    return folder;
  }

  static size_t offsetOf(int32_t slot) { return (static_cast<size_t>(slot) + 1) * sizeof(Record); }

  bool put(int32_t slot, const Record& record) const {
    return index_.write(offsetOf(slot), &record, sizeof(record));
  }

  bool name(int32_t slot, const Digest& identity, const BlockUse& use) {
    Record record{kMagic,
                  blockBytes_,
                  identity,
                  use.uses,
                  use.cost,
                  ++order_,
                  checksums_[static_cast<size_t>(slot)],
                  0};
    record.checksum = checksumOf(record);
    return put(slot, record);
  }

  // What an earlier process left. An index that is not this one's, or no index, is begun anew.
  void readIndex() {
    Record head;
    const bool known = index_.read(0, &head, sizeof(head)) && head.magic == kMagic &&
                       head.checksum == checksumOf(head) && head.bytes == blockBytes_ &&
                       head.identity == scope_;
    if (!known) {
      Record fresh{kMagic, blockBytes_, scope_, 0, 0, 0, 0, 0};
      fresh.checksum = checksumOf(fresh);
      if (!index_.truncate(0) || !blocks_.truncate(0) || !index_.write(0, &fresh, sizeof(fresh)))
        refuse(stem_, "cannot be written: " + systemReason(errno),
               "Check the disk and the permissions.");
      return;
    }
    std::vector<std::pair<double, Stored>> found;
    const size_t there = index_.size() / sizeof(Record) - 1;
    std::vector<Record> records(std::min<size_t>(there, static_cast<size_t>(slots_)));
    if (!index_.read(sizeof(Record), records.data(), records.size() * sizeof(Record)))
      records.clear();
    for (size_t at = 0; at < records.size(); ++at) {
      const Record& record = records[at];
      if (record.magic != kMagic || record.checksum != checksumOf(record)) continue;
      if (record.bytes != blockBytes_ || !(record.order >= 0)) continue;
      checksums_[at] = record.blockChecksum;
      order_ = std::max(order_, record.order);
      const BlockUse use{0, record.uses, record.cost, double(blockBytes_)};
      found.push_back({record.order, {static_cast<int32_t>(at), record.identity, use}});
    }
    if (there > static_cast<size_t>(slots_)) shrink();
    std::sort(found.begin(), found.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [order, stored] : found) contents_.push_back(stored);
  }

  // The budget is smaller than it was.
  void shrink() const {
    const auto slots = static_cast<size_t>(slots_);
    if (blocks_.size() > slots * blockBytes_) blocks_.truncate(slots * blockBytes_);
    index_.truncate((slots + 1) * sizeof(Record));
  }

  struct Other {
    std::string stem;
    fs::file_time_type used;
    size_t bytes;
  };

  std::vector<Other> others() const {
    std::vector<Other> found;
    std::error_code error;
    for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
      const fs::path& path = at->path();
      const std::string stem = (path.parent_path() / path.stem()).string();
      if (path.extension() != kIndexSuffix || stem == stem_) continue;
      std::error_code ignored;
      const auto sizeOf = [&](const char* suffix) {
        const auto size = fs::file_size(stem + suffix, ignored);
        return ignored ? size_t{0} : static_cast<size_t>(size);
      };
      found.push_back(
          {stem, fs::last_write_time(path, ignored), sizeOf(kIndexSuffix) + sizeOf(kBlocksSuffix)});
    }
    return found;
  }

  // Of files of other contents, those that somebody has open.
  size_t bytesInUse() const {
    size_t bytes = 0;
    for (const Other& other : others())
      bytes += File(other.stem + kIndexSuffix).lock() ? 0 : other.bytes;
    return bytes;
  }

  // Before the files grow to have this slot.
  void makeRoom(int32_t slot) {
    const size_t end = (static_cast<size_t>(slot) + 1) * slotBytes();
    if (end <= grown_) return;
    grown_ = end;
    std::vector<Other> rest = others();
    size_t all = end;
    for (const Other& other : rest) all += other.bytes;
    std::sort(rest.begin(), rest.end(),
              [](const Other& a, const Other& b) { return a.used < b.used; });
    for (const Other& other : rest) {
      if (all <= budget_) break;
      const File index(other.stem + kIndexSuffix);
      if (!index.isOpen() || !index.lock()) continue;
      std::error_code ignored;
      fs::remove(other.stem + kBlocksSuffix, ignored);
      fs::remove(other.stem + kIndexSuffix, ignored);
      all -= other.bytes;
    }
  }

  const std::string folder_;
  const Digest scope_;
  const std::string stem_;
  const size_t blockBytes_, budget_;
  File index_, blocks_;
  int32_t slots_ = 0;
  std::vector<uint32_t> checksums_;  // of blocks, by slot
  std::vector<Stored> contents_;
  double order_ = 0;
  size_t grown_ = 0;  // bytes that the files were given room for
};

std::unique_ptr<TierStorage> open(const TierSpec& spec, const TierContent& content) {
  auto storage = std::make_unique<DiskStorage>(spec, content);
  if (storage->slots() > 0) return storage;
  throw Error(code::kOptionInvalid,
              "the disk tier in " + spec.folder + " has " + std::to_string(spec.bytes) +
                  " bytes, which other models use; give it more, or a folder of its own",
              {{"tier", spec.name}, {"bytes", double(spec.bytes)}, {"folder", spec.folder}});
}

}  // namespace

const TierKind kDiskTier{"disk", open};

}  // namespace baton
