// SPDX-License-Identifier: Apache-2.0
// Snapshots: what goes out comes back, rows that are not part of it do not go out, and nothing that
// is damaged, cut off or of another model becomes a readable block.
#include "cache/snapshot.h"

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "base/crc32c.h"
#include "base/error.h"
#include "check.h"

using namespace baton;
using namespace baton::test;
namespace fs = std::filesystem;

namespace {

constexpr size_t kBlocks = 64;
const std::atomic<int32_t> kGoOn{0};

KvShape shapeOf(KvType type) {
  return {.layers = 3, .kvHeads = 2, .headDim = 16, .type = type};
}

// Memory that this process may not follow pointers into, as far as anybody is told.
class Elsewhere : public Memory {
 public:
  bool onHost() const override { return false; }
  std::byte* allocate(size_t bytes, const char* what) override {
    return hostMemory()->allocate(bytes, what);
  }
  void release(std::byte* memory) noexcept override { hostMemory()->release(memory); }
  std::byte* reserve(size_t bytes, const char* what) override {
    return hostMemory()->reserve(bytes, what);
  }
  void unreserve(std::byte* memory, size_t bytes) noexcept override {
    hostMemory()->unreserve(memory, bytes);
  }
  void upload(void* to, const void* from, size_t bytes) override { copied(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) override { copied(to, from, bytes); }
  void copy(void* to, const void* from, size_t bytes) override { copied(to, from, bytes); }
  void fill(void* to, uint8_t value, size_t bytes) override { std::memset(to, value, bytes); }

  std::atomic<int> copies{0};

 private:
  void copied(void* to, const void* from, size_t bytes) {
    std::memcpy(to, from, bytes);
    ++copies;
  }
};

struct World {
  std::shared_ptr<Pool> pool;
  explicit World(KvType type = KvType::kF16, size_t blocks = kBlocks,
                 const std::shared_ptr<Memory>& memory = hostMemory())
      : pool(std::make_shared<Pool>(shapeOf(type), blocks * shapeOf(type).blockBytes(), 0,
                                    memory)) {}

  // Rows of random bytes: in all blocks, also where no row is.
  std::shared_ptr<Segment> written(int rows, uint32_t seed) const {
    auto segment =
        std::make_shared<Segment>(pool, SegmentSpec{SegmentKind::kInput, 0, {}, {}}, "model/f16");
    const std::vector<int32_t> tokens(static_cast<size_t>(rows), 7);
    segment->reserve(rows);
    segment->commitTokens(tokens.data(), rows);
    std::mt19937 random(seed);
    for (const int32_t block : segment->blockNumbers()) {
      for (size_t i = 0; i < pool->shape().blockBytes(); ++i)
        at(block)[i] = static_cast<std::byte>(random());
    }
    return segment;
  }
  std::byte* at(int32_t block) const {
    return pool->keys(0) + static_cast<size_t>(block) * pool->shape().blockBytes();
  }
  std::string bytesOf(int32_t block) const {
    return {reinterpret_cast<const char*>(at(block)), pool->shape().blockBytes()};
  }
};

struct File {
  std::string path =
      (fs::temp_directory_path() / ("baton-snapshot-" + std::to_string(::getpid()))).string();
  ~File() { fs::remove(path); }
  std::string bytes() const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void set(const std::string& bytes) const {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
};

SnapshotHead headed(std::string header, std::string notes) {
  SnapshotHead head;
  head.header = std::move(header);
  head.notes = std::move(notes);
  return head;
}

uint64_t save(const World& world, const File& file, const std::vector<int>& rows) {
  SnapshotSource source(world.pool);
  uint32_t seed = 1;
  for (const int count : rows) source.add(*world.written(count, seed++), count);
  return writeSnapshot(file.path, source, headed("{\"a\":1}", "notes"), 2, false, kGoOn);
}

// What a reader of the file gets: the error's code and part, or "whole N fault F".
std::string outcome(const World& world, const File& file) {
  try {
    const ReadFile from(file.path);
    const SnapshotHead head = readSnapshotHead(from);
    const uint64_t there = (from.size() - head.headBytes()) / head.blockBytes;
    SnapshotRestore restore(world.pool, head, there);
    restore.fill(from, 2, kGoOn);
    const std::string fault = restore.fault() ? restore.fault()->what : "";
    return "whole " + std::to_string(restore.whole()) + " " + fault;
  } catch (const Error& error) {
    std::string text = error.code();
    for (const auto& [name, value] : error.facts()) {
      if (const auto* fact = std::get_if<std::string>(&value)) text += " " + *fact;
    }
    return text;
  }
}

std::string rowOf(const World& world, int32_t block, int row) {
  const KvShape shape = world.pool->shape();
  const auto element = static_cast<size_t>(kvTypeBytes(shape.type));
  const auto width = static_cast<size_t>(shape.headDim);
  const auto at = static_cast<size_t>(row);
  const std::string bytes = world.bytesOf(block);
  std::string found;
  for (int half = 0; half < 2 * shape.layers * shape.kvHeads; ++half) {
    const std::string head =
        bytes.substr(static_cast<size_t>(half) * shape.headBytes(), shape.headBytes());
    if (half / shape.kvHeads % 2 == 0) {
      for (size_t d = 0; d < width; ++d)
        found += head.substr((d * kBlockRows + at) * element, element);
    } else {
      found += head.substr(at * width * element, width * element);
    }
    if (shape.type == KvType::kInt8) found += head.substr(kBlockRows * width * element + 2 * at, 2);
  }
  return found;
}

}  // namespace

TEST("snapshot: rows come back as they were, those beside them do not go out") {
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8}) {
    const World world(type), other(type);
    const File file;
    const auto segment = world.written(37, 1);
    SnapshotSource source(world.pool);
    source.add(*segment, 37);
    source.add(*segment, 16);
    const uint64_t bytes =
        writeSnapshot(file.path, source, headed("header", "notes"), 3, true, kGoOn);
    CHECK_EQ(bytes, file.bytes().size());
    const ReadFile from(file.path);
    const SnapshotHead head = readSnapshotHead(from);
    CHECK_EQ(head.header, std::string("header"));
    CHECK_EQ(head.notes, std::string("notes"));
    SnapshotRestore restore(other.pool, head);
    CHECK_EQ(restore.whole(), 0u);
    restore.fill(from, 3, kGoOn);
    REQUIRE(restore.whole() == 4);
    const std::vector<int32_t> before = segment->blockNumbers(), after = restore.take(0, 4);
    for (const size_t block : {0, 1, 3}) {
      CHECK(world.bytesOf(before[block % 3]) == other.bytesOf(after[block]));
    }
    for (int row = 0; row < kBlockRows; ++row) {
      const std::string found = rowOf(other, after[2], row);
      const bool none = found == std::string(found.size(), '\0');
      CHECK(row < 5 ? found == rowOf(world, before[2], row) : none);
    }
    CHECK_THROWS(code::kOptionInvalid, restore.take(2, 2));
    other.pool->release(after.data(), after.size());
  }
}

TEST("snapshot: a stream in any pieces is the file") {
  const World world, other;
  const File file;
  const auto segment = world.written(53, 1);
  SnapshotSource source(world.pool);
  source.add(*segment, 53);
  writeSnapshot(file.path, source, headed("h", "n"), 1, false, kGoOn);
  SnapshotHead head = headed("h", "n");
  sumBlocks(source, head, 2, kGoOn);
  std::string stream = head.bytes();
  std::vector<std::byte> room(source.blockBytes());
  for (size_t i = 0; i < source.blocks(); ++i)
    stream.append(reinterpret_cast<const char*>(source.block(i, room.data())), room.size());
  CHECK(stream == file.bytes());
  const auto* bytes = reinterpret_cast<const std::byte*>(stream.data());
  const uint64_t first = SnapshotHead::headBytesOf(bytes, std::nullopt);
  for (const size_t piece : {size_t{1000}, size_t{4096}, stream.size()}) {
    SnapshotRestore restore(other.pool, SnapshotHead::parse(bytes, first));
    for (size_t at = first; at < stream.size(); at += piece)
      restore.feed(bytes + at, std::min(piece, stream.size() - at));
    restore.end();
    CHECK_EQ(restore.whole(), 4u);
    CHECK_THROWS(code::kOptionInvalid, restore.feed(bytes, 1));
  }
  SnapshotRestore cut(other.pool, SnapshotHead::parse(bytes, first));
  cut.feed(bytes + first, 2 * room.size() + 5);
  CHECK_THROWS(code::kOptionInvalid, cut.take(0, 1));  // not before the end
  cut.end();
  CHECK_EQ(cut.whole(), 2u);
  CHECK_EQ(other.pool->stats().blocksUsed, 4u);  // of cut
}

TEST("snapshot: blocks of a device go through its copies, and the file is the host's") {
  const auto far = std::make_shared<Elsewhere>();
  const World host, device(KvType::kF16, kBlocks, far);
  const File file;
  save(host, file, {37});
  const std::string expected = file.bytes();
  save(device, file, {37});
  CHECK(file.bytes() == expected);
  CHECK_EQ(far->copies, 3);
  CHECK_EQ(outcome(device, file), std::string("whole 3 "));
  CHECK_EQ(far->copies, 6);

  const ReadFile from(file.path);
  SnapshotRestore restore(device.pool, readSnapshotHead(from));
  const auto* bytes = reinterpret_cast<const std::byte*>(expected.data());
  const size_t first = readSnapshotHead(from).headBytes();
  restore.feed(bytes + first, 1000);
  restore.feed(bytes + first + 1000, expected.size() - first - 1000);
  restore.end();
  REQUIRE(restore.whole() == 3);
  const std::vector<int32_t> blocks = restore.take(0, 3);
  CHECK(device.bytesOf(blocks[0]) == expected.substr(first, device.pool->shape().blockBytes()));
  device.pool->release(blocks.data(), blocks.size());
}

TEST("snapshot: every flipped byte is seen, and where it is") {
  const World world, other;
  const File file;
  save(world, file, {20, 40});
  const std::string whole = file.bytes();
  CHECK_EQ(outcome(other, file), std::string("whole 5 "));
  const ReadFile from(file.path);
  const size_t first = readSnapshotHead(from).headBytes(), block = world.pool->shape().blockBytes();
  for (size_t at = 0; at < whole.size(); at += at < 200 ? 1 : 97) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    file.set(bytes);
    const std::string seen = outcome(other, file);
    if (at >= first) {
      CHECK_EQ(seen, "whole " + std::to_string((at - first) / block) + " its checksum is wrong");
    } else if (at == 7) {
      CHECK(seen.starts_with("KV_MISMATCH format"));
    } else {
      CHECK(seen.starts_with("SNAPSHOT_INVALID "));
    }
    CHECK_EQ(other.pool->stats().blocksUsed, 0u);
  }
}

TEST("snapshot: a file of any other length is no whole one") {
  const World world, other;
  const File file;
  save(world, file, {20, 40});
  const std::string whole = file.bytes();
  const ReadFile from(file.path);
  const size_t first = readSnapshotHead(from).headBytes(), block = world.pool->shape().blockBytes();
  for (size_t length = 0; length < whole.size(); length += length < 200 ? 7 : 301) {
    file.set(whole.substr(0, length));
    const std::string seen = outcome(other, file);
    if (length < first) {
      CHECK(seen.starts_with("SNAPSHOT_INVALID "));
    } else {
      CHECK(seen.starts_with("whole " + std::to_string((length - first) / block) + " the file"));
    }
  }
  file.set(whole + "x");
  CHECK_EQ(outcome(other, file), std::string("whole 5 bytes follow behind it"));
  std::string swapped = whole;
  swapped.replace(first, block, whole, first + block, block);
  swapped.replace(first + block, block, whole, first, block);
  file.set(swapped);
  CHECK_EQ(outcome(other, file), std::string("whole 0 its checksum is wrong"));
}

// Whoever writes lengths may write a checksum that fits them.
TEST("snapshot: lengths that cannot be right allocate nothing") {
  const World world, other;
  const File file;
  save(world, file, {20});
  const std::string whole = file.bytes();
  for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 31, uint64_t{1} << 40,
                               uint64_t{1} << 62, ~uint64_t{0}}) {
    for (const size_t field : {8, 16, 24, 32}) {
      std::string bytes = whole;
      std::memcpy(bytes.data() + field, &value, 8);
      std::memset(bytes.data() + 60, 0, 4);
      const uint32_t sum = crc32c(0, bytes.data(), 4096);
      std::memcpy(bytes.data() + 60, &sum, 4);
      file.set(bytes);
      const std::string seen = outcome(other, file);
      CHECK(seen.starts_with("SNAPSHOT_INVALID ") || seen.starts_with("KV_MISMATCH ") ||
            seen.starts_with("whole "));
      CHECK(other.pool->stats().blocksPeak <= 2);  // the file has no more
    }
  }
}

TEST("snapshot: blocks of another size are another model's; what does not fit takes nothing") {
  const File file;
  save(World(), file, {40});
  CHECK(outcome(World(KvType::kInt8), file).starts_with("KV_MISMATCH blockBytes"));
  const World small(KvType::kF16, 2);
  CHECK_EQ(outcome(small, file), std::string("CACHE_BUDGET"));
  CHECK_EQ(small.pool->stats().blocksUsed, 0u);
}

TEST("snapshot: held blocks stay what they are when their segment is gone") {
  const World world(KvType::kF16, 4);
  SnapshotSource source(world.pool);
  std::vector<std::byte> room(source.blockBytes());
  std::string before;
  {
    const auto segment = world.written(16, 1);
    before = world.bytesOf(segment->blockNumbers()[0]);
    CHECK_THROWS(code::kOptionInvalid, source.add(*segment, 17));
    source.add(*segment, 16);
    segment->truncate(0);
  }
  world.written(48, 2);  // takes every other block
  const auto* after = reinterpret_cast<const char*>(source.block(0, room.data()));
  CHECK(before == std::string(after, room.size()));
  CHECK_EQ(world.pool->stats().blocksUsed, 1u);
}

TEST("snapshot: what is aborted leaves no file and no block") {
  const World world;
  const File file;
  const std::atomic<int32_t> stop{1};
  {
    SnapshotSource source(world.pool);
    source.add(*world.written(40, 1), 40);
    CHECK_THROWS(code::kAborted, writeSnapshot(file.path, source, headed("h", ""), 2, false, stop));
    CHECK(!fs::exists(file.path));
    writeSnapshot(file.path, source, headed("h", ""), 2, false, kGoOn);
  }
  {
    const ReadFile from(file.path);
    SnapshotRestore restore(world.pool, readSnapshotHead(from));
    CHECK_THROWS(code::kAborted, restore.fill(from, 2, stop));
  }
  CHECK_EQ(world.pool->stats().blocksUsed, 0u);
}
