// SPDX-License-Identifier: Apache-2.0
// Streams and pinned memory of the emulated device: a copy from or to pinned memory is put off
// until its stream is waited for or is given something else. What there is, and how late copies
// came, is counted in the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "emulation/cuda_library.h"

struct BatonCudaStream {
  struct Copy {
    void* to;
    const void* from;
    uint64_t bytes;
  };
  int32_t device;
  std::vector<Copy> later;  // from and to pinned memory, in order
};

namespace baton::emulation {

class PinnedMemory {
 public:
  explicit PinnedMemory(EmulatedDevice& device) : device_(device) {}
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  std::set<BatonCudaStream*> streams;  // that there are

  std::byte* take(uint64_t bytes);  // null: no more of it
  bool has(const void* begin, uint64_t bytes) const;
  // Drops copies that were to read or write it. False: none was taken there.
  bool giveBack(void* memory);

  void putOff(BatonCudaStream& stream, const BatonCudaStream::Copy& copy);
  // Does what was put off, or drops it.
  void catchUp(BatonCudaStream& stream, bool does);

 private:
  EmulatedDevice& device_;
  std::map<const std::byte*, uint64_t> taken_;  // to bytes
};

}  // namespace baton::emulation
