// SPDX-License-Identifier: Apache-2.0
// One piece of managed memory, given out in powers of two and never given back to the system: a few
// tests take a few hundred megabytes at most.
#include "gpu/shared_memory.h"

#include <cuda_runtime.h>
#include <stdlib.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>

namespace baton::test {
namespace {

constexpr size_t kArenaBytes = size_t{8} << 30;
constexpr size_t kSmallest = 64;

class Arena {
 public:
  static Arena& instance() {
    static Arena arena;
    return arena;
  }

  // Null: the host's memory it is.
  void* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (!ready_) begin();
    if (memory_ == nullptr) return nullptr;
    const size_t size = std::bit_ceil(bytes < kSmallest ? kSmallest : bytes);
    Free*& free = free_[std::countr_zero(size)];
    if (free != nullptr) {
      Free* taken = free;
      free = taken->next;
      return taken;
    }
    const size_t at = (used_ + size - 1) / size * size;
    if (at + size > kArenaBytes) throw std::bad_alloc();
    used_ = at + size;
    return memory_ + at;
  }

  // False: it is none of this memory.
  bool giveBack(void* place, size_t bytes) {
    if (!owns(place)) return false;
    const std::lock_guard lock(mutex_);
    const size_t size = std::bit_ceil(bytes < kSmallest ? kSmallest : bytes);
    Free*& free = free_[std::countr_zero(size)];
    free = new (place) Free{free};
    return true;
  }

  bool owns(const void* place) const {
    const auto* at = static_cast<const std::byte*>(place);
    return memory_ != nullptr && at >= memory_ && at < memory_ + kArenaBytes;
  }
  bool isShared() {
    const std::lock_guard lock(mutex_);
    if (!ready_) begin();
    return memory_ != nullptr;
  }
  cudaError_t error() const { return error_; }

 private:
  struct Free {
    Free* next;
  };

  // CUDA reads the variable when it starts: launches then end before they return.
  void begin() {
    ready_ = true;
    setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
    void* memory = nullptr;
    error_ = cudaMallocManaged(&memory, kArenaBytes);
    if (error_ == cudaSuccess) memory_ = static_cast<std::byte*>(memory);
  }

  std::recursive_mutex mutex_;  // what CUDA allocates while it starts is the host's
  bool ready_ = false;
  cudaError_t error_ = cudaSuccess;
  std::byte* memory_ = nullptr;
  size_t used_ = 0;
  Free* free_[64] = {};
};

// The size stands before what is given out, in a place of its own that keeps the alignment.
constexpr size_t kHeader = alignof(std::max_align_t);

void* allocate(size_t bytes, size_t alignment) {
  const size_t header = alignment < kHeader ? kHeader : alignment;
  const size_t all = bytes + header;
  void* start = Arena::instance().take(all);
  if (start == nullptr) {
    start = aligned_alloc(header, (all + header - 1) / header * header);
    if (start == nullptr) throw std::bad_alloc();
  }
  auto* at = static_cast<std::byte*>(start) + header;
  *reinterpret_cast<size_t*>(at - sizeof(size_t)) = all;
  return at;
}

void release(void* place, size_t alignment) {
  if (place == nullptr) return;
  auto* at = static_cast<std::byte*>(place);
  const size_t all = *reinterpret_cast<size_t*>(at - sizeof(size_t));
  void* start = at - (alignment < kHeader ? kHeader : alignment);
  if (!Arena::instance().giveBack(start, all)) free(start);
}

}  // namespace

bool isShared() {
  return Arena::instance().isShared();
}
std::string whyNotShared() {
  return cudaGetErrorString(Arena::instance().error());
}

}  // namespace baton::test

void* operator new(size_t bytes) {
  return baton::test::allocate(bytes, 1);
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return baton::test::allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* place) noexcept {
  baton::test::release(place, 1);
}
void operator delete(void* place, size_t) noexcept {
  baton::test::release(place, 1);
}
void operator delete(void* place, std::align_val_t alignment) noexcept {
  baton::test::release(place, static_cast<size_t>(alignment));
}
void operator delete(void* place, size_t, std::align_val_t alignment) noexcept {
  baton::test::release(place, static_cast<size_t>(alignment));
}
