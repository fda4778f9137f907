// SPDX-License-Identifier: Apache-2.0
// The host's memory: for pools that lie on a device. Address space for all blocks is reserved at
// once; pages come as they are written.
#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "cache/tiers/tier.h"
#include "device/memory.h"

namespace baton {
namespace {

class HostStorage : public TierStorage {
 public:
  HostStorage(size_t slots, size_t blockBytes)
      : blockBytes_(blockBytes),
        checksums_(slots),
        bytes_(slots * blockBytes),
        blocks_(hostMemory()->reserve(bytes_, "the host tier of a KV cache")) {}
  ~HostStorage() override { hostMemory()->unreserve(blocks_, bytes_); }
  HostStorage(const HostStorage&) = delete;
  HostStorage& operator=(const HostStorage&) = delete;

  int32_t slots() const override { return static_cast<int32_t>(checksums_.size()); }
  size_t slotBytes() const override { return blockBytes_; }

  bool write(int32_t slot, const Digest&, const BlockUse&, const std::byte* block) override {
    std::memcpy(at(slot), block, blockBytes_);
    checksums_[static_cast<size_t>(slot)] = crc32c(0, block, blockBytes_);
    return true;
  }
  bool read(int32_t slot, std::byte* to) override {
    std::memcpy(to, at(slot), blockBytes_);
    return crc32c(0, to, blockBytes_) == checksums_[static_cast<size_t>(slot)];
  }
  void forget(int32_t) override {}

 private:
  std::byte* at(int32_t slot) const { return blocks_ + static_cast<size_t>(slot) * blockBytes_; }

  const size_t blockBytes_;
  std::vector<uint32_t> checksums_;
  const size_t bytes_;
  std::byte* const blocks_;
};

std::unique_ptr<TierStorage> open(const TierSpec& spec, const TierContent& content) {
  const size_t slots = std::min<size_t>(spec.bytes / content.blockBytes, INT32_MAX);
  return std::make_unique<HostStorage>(slots, content.blockBytes);
}

}  // namespace

const TierKind kHostTier{"host", open};

}  // namespace baton
