// SPDX-License-Identifier: Apache-2.0
#include "emulation/cuda_pinned.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace baton::emulation {
namespace {

constexpr std::align_val_t kAlignment{256};

}  // namespace

PinnedMemory::~PinnedMemory() {
  for (const auto& [memory, bytes] : taken_) {
    ::operator delete(const_cast<std::byte*>(memory), kAlignment);
  }
}

std::byte* PinnedMemory::take(uint64_t bytes) {
  if (bytes > device_.pinnedBytes) return nullptr;
  device_.pinnedBytes -= bytes;
  auto* const memory = static_cast<std::byte*>(::operator new(bytes, kAlignment));
  taken_[memory] = bytes;
  return memory;
}

bool PinnedMemory::has(const void* begin, uint64_t bytes) const {
  const auto* at = static_cast<const std::byte*>(begin);
  auto found = taken_.upper_bound(at);
  if (found == taken_.begin()) return false;
  --found;
  return at + bytes <= found->first + found->second;
}

bool PinnedMemory::giveBack(void* memory) {
  const auto found = taken_.find(static_cast<const std::byte*>(memory));
  if (found == taken_.end()) return false;
  const auto [begin, bytes] = *found;
  const std::byte* const end = begin + bytes;
  const auto within = [begin = begin, end](const void* at) { return at >= begin && at < end; };
  for (BatonCudaStream* stream : streams) {
    const auto dropped = std::erase_if(stream->later, [&](const BatonCudaStream::Copy& copy) {
      return within(copy.from) || within(copy.to);
    });
    device_.underway -= dropped;
    device_.freedUnderway += dropped;
  }
  device_.pinnedBytes += bytes;
  taken_.erase(found);
  ::operator delete(memory, kAlignment);
  return true;
}

void PinnedMemory::putOff(BatonCudaStream& stream, const BatonCudaStream::Copy& copy) {
  stream.later.push_back(copy);
  device_.mostUnderway = std::max(device_.mostUnderway, ++device_.underway);
}

void PinnedMemory::catchUp(BatonCudaStream& stream, bool does) {
  for (const BatonCudaStream::Copy& copy : stream.later) {
    if (does) std::memmove(copy.to, copy.from, copy.bytes);
  }
  device_.underway -= stream.later.size();
  stream.later.clear();
}

}  // namespace baton::emulation
