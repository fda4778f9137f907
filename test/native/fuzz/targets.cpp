// SPDX-License-Identifier: Apache-2.0
// Where a checksum would refuse nearly every input, every other input has it mended before it is
// read: damage is told by the sum, lies must be survived without it.
#include "fuzz/targets.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "base/crc32c.h"
#include "base/error.h"
#include "cache/policies/policy.h"
#include "cache/snapshot.h"
#include "cache/tiers/tier.h"
#include "fuzz/hostile_formats.h"
#include "model/hub_folder.h"

namespace baton::test {
namespace {

std::string textOf(const uint8_t* data, size_t size) {
  return std::string(reinterpret_cast<const char*>(data), size);
}

// ---- model files

bool safetensorsTarget(const uint8_t* data, size_t size) {
  return readHostileSafetensors(textOf(data, size));
}

std::vector<std::string> safetensorsSeeds() {
  const std::string small =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}})";
  return {withHeader(small, std::string(22, '\1')), safetensors(kSecond)};
}

bool jsonTarget(const uint8_t* data, size_t size) {
  return readHostileJson(textOf(data, size));
}

std::vector<std::string> jsonSeeds() {
  return {
      R"({"a": [1, -2.5e3, {"deep": [[[]]]}], "\u00e9\ud83d\ude00": "\n\\", "t": [true, null]})",
      kConfig};
}

// A folder whose weights are sound, and one of whose other files is the input: the first byte says
// which.
constexpr const char* kTexts[] = {"config.json", "model.safetensors.index.json",
                                  "tokenizer_config.json", "generation_config.json",
                                  "special_tokens_map.json"};

HubFolder& hubFolder() {
  static HubFolder folder = [] {
    HubFolder made;
    made.files["tokenizer.json"] = "{}";
    made.files["tokenizer_config.json"] = R"({"add_bos_token": true, "bos_token": "<s>"})";
    made.files["special_tokens_map.json"] = R"({"eos_token": "</s>", "bos_token": "<s>"})";
    made.files["generation_config.json"] = R"({"eos_token_id": [2, 3], "bos_token_id": 1})";
    return made;
  }();
  static const auto once = folder.load();
  return folder;
}

bool folderTarget(const uint8_t* data, size_t size) {
  if (size == 0) return false;
  HubFolder& sound = hubFolder();
  const char* const name = kTexts[data[0] % std::size(kTexts)];
  sound.folder.write(name, textOf(data + 1, size - 1));
  const bool taken = readHostileFolder(sound.path());
  sound.folder.write(name, sound.files[name]);
  return taken;
}

std::vector<std::string> folderSeeds() {
  std::vector<std::string> seeds;
  for (size_t i = 0; i < std::size(kTexts); ++i) {
    seeds.push_back(std::string(1, static_cast<char>(i)) + hubFolder().files[kTexts[i]]);
  }
  return seeds;
}

// ---- snapshots

constexpr KvShape kShape{1, 1, 8, KvType::kF32};
constexpr size_t kSumAt = 60;  // of the preamble, as snapshot.cpp has it

// Taken: every block was seen to be right.
bool readSnapshot(const std::string& bytes) {
  const auto pool = std::make_shared<Pool>(kShape, 64 * kShape.blockBytes(), 0, hostMemory());
  const auto* const data = reinterpret_cast<const std::byte*>(bytes.data());
  bool whole = false;
  try {
    if (bytes.size() < kSnapshotPreamble) throw Error(code::kSnapshotInvalid, "short");
    const uint64_t head = SnapshotHead::headBytesOf(data, bytes.size());
    SnapshotHead parsed = SnapshotHead::parse(data, head);
    const size_t blocks = parsed.checksums.size();
    SnapshotRestore restore(pool, std::move(parsed));
    // In pieces of any length.
    for (size_t at = head; at < bytes.size();) {
      const size_t piece = std::min<size_t>(1 + bytes[at] % 251 * 7u, bytes.size() - at);
      restore.feed(data + at, piece);
      at += piece;
    }
    restore.end();
    whole = restore.whole() == blocks;
    const size_t first = restore.whole() / 2;
    const std::vector<int32_t> taken = restore.take(0, first);
    pool->release(taken.data(), taken.size());
  } catch (const Error& error) {
    const std::string code = error.code();
    if (code != code::kSnapshotInvalid && code != code::kKvMismatch && code != code::kCacheBudget)
      throw std::logic_error("a snapshot gave " + code + ": " + error.what());
  }
  if (pool->stats().blocksUsed != 0) throw std::logic_error("blocks of a snapshot stay");
  return whole;
}

void mendSnapshot(std::string& bytes) {
  if (bytes.size() < kSnapshotPreamble) return;
  auto* const data = reinterpret_cast<std::byte*>(bytes.data());
  uint64_t head = 0;
  try {
    head = SnapshotHead::headBytesOf(data, bytes.size());
  } catch (const Error&) {
    return;
  }
  const uint32_t none = 0;
  std::memcpy(data + kSumAt, &none, sizeof none);
  const uint32_t sum = crc32c(0, data, head);
  // The two parts of the head are summed with zeros in between, as one.
  std::memcpy(data + kSumAt, &sum, sizeof sum);
}

bool snapshotTarget(const uint8_t* data, size_t size) {
  std::string bytes = textOf(data, size);
  const bool taken = readSnapshot(bytes);
  mendSnapshot(bytes);
  return readSnapshot(bytes) || taken;
}

std::vector<std::string> snapshotSeeds() {
  SnapshotHead head;
  head.header = R"({"kind":"segment","rows":20})";
  head.notes = std::string(80, '\2');
  head.blockBytes = kShape.blockBytes();
  std::string blocks;
  for (char block = 0; block < 3; ++block) {
    const std::string one(kShape.blockBytes(), block);
    head.checksums.push_back(crc32c(0, one.data(), one.size()));
    blocks += one;
  }
  SnapshotHead empty;
  empty.blockBytes = kShape.blockBytes();
  return {head.bytes() + blocks, empty.bytes()};
}

// ---- the disk tier

constexpr size_t kRecord = 128;  // of its index, as disk.cpp has it
constexpr size_t kTierBlock = 64;

// A tier that finds these bytes as its index, and `blocks` as its blocks.
class TierFolder {
 public:
  TierSpec spec() const { return {"disk", 8 * (kTierBlock + kRecord), folder_.file("")}; }
  std::string index() {
    if (index_.empty()) open();
    for (const auto& entry : std::filesystem::directory_iterator(folder_.file(""))) {
      if (entry.path().extension() == ".index") index_ = entry.path().string();
    }
    return index_;
  }
  std::unique_ptr<TierStorage> open() const {
    return kDiskTier.open(spec(), {"a scope", kTierBlock});
  }

 private:
  TemporaryFolder folder_;
  std::string index_;
};

TierFolder& tierFolder() {
  static TierFolder folder;
  return folder;
}

std::string blocksOf(std::string index) {
  return index.replace(index.size() - 6, 6, ".blocks");
}

bool readTier(const std::string& index) {
  const std::string path = tierFolder().index();
  std::ofstream(path, std::ios::binary | std::ios::trunc) << index;
  std::ofstream(blocksOf(path), std::ios::binary | std::ios::trunc)
      << std::string(4 * kTierBlock, '\1');
  size_t found = 0;
  try {
    const std::vector<const Policy*>& kinds = policies();
    auto storage = tierFolder().open();
    const int32_t slots = storage->slots();
    std::byte block[kTierBlock];
    for (const TierStorage::Stored& one : storage->contents()) {
      if (one.slot < 0 || one.slot >= slots) throw std::logic_error("a slot that is not there");
      storage->read(one.slot, block);
      ++found;
    }
    storage.reset();
    Tier tier("disk", tierFolder().open(), *kinds[index.size() % kinds.size()]);
    Digest identity{};
    for (uint8_t i = 0; i < 12; ++i) {  // more than it has slots: something is given up
      identity.fill(i);
      const auto there = [&] {
        tier.put(identity, {0, 1, 1, double(kTierBlock)}, block, nullptr);
        return tier.take(identity, block);
      };
      // The index may know it already, with other bytes: then it is damaged, once.
      if (!there() && !there()) throw std::logic_error("what was put is not there");
    }
  } catch (const Error& error) {
    const std::string code = error.code();
    if (code != code::kIo && code != code::kOptionInvalid)
      throw std::logic_error("a tier gave " + code + ": " + error.what());
  }
  return found > 0;
}

void mendTier(std::string& index) {
  for (size_t at = 0; at + kRecord <= index.size(); at += kRecord) {
    const uint32_t sum = crc32c(0, index.data() + at, kRecord - 4);
    std::memcpy(index.data() + at + kRecord - 4, &sum, sizeof sum);
  }
}

bool tierTarget(const uint8_t* data, size_t size) {
  std::string index = textOf(data, std::min<size_t>(size, 64 * kRecord));
  const bool taken = readTier(index);
  mendTier(index);
  return readTier(index) || taken;
}

std::vector<std::string> tierSeeds() {
  const std::string path = tierFolder().index();
  std::filesystem::resize_file(path, 0);
  {
    Tier tier("disk", tierFolder().open(), *policies().front());
    std::byte block[kTierBlock] = {};
    Digest identity{};
    for (uint8_t i = 0; i < 4; ++i) {
      identity.fill(i);
      tier.put(identity, {0, double(i), 2, double(kTierBlock)}, block, nullptr);
    }
  }
  std::ifstream file(path, std::ios::binary);
  return {std::string(std::istreambuf_iterator<char>(file), {})};
}

}  // namespace

const std::vector<FuzzTarget>& fuzzTargets() {
  static const std::vector<FuzzTarget> targets = {
      {"gguf", readHostileModel, ggufSeeds},
      {"safetensors", safetensorsTarget, safetensorsSeeds},
      {"json", jsonTarget, jsonSeeds},
      {"hugging-face", folderTarget, folderSeeds},
      {"snapshot", snapshotTarget, snapshotSeeds},
      {"disk-tier", tierTarget, tierSeeds},
  };
  return targets;
}

const FuzzTarget* fuzzTarget(const std::string& name) {
  for (const FuzzTarget& target : fuzzTargets()) {
    if (name == target.name) return &target;
  }
  return nullptr;
}

}  // namespace baton::test
