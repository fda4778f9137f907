// SPDX-License-Identifier: Apache-2.0
// Replaces operator new of the whole test program by malloc with two counters beside it. All forms
// are replaced: a sanitizer brings its own of each, and a block must not be taken by one and given
// back by another. Sanitizers see malloc as before.
#include "fuzz/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

thread_local baton::test::Allocations counted;

std::atomic<int64_t> untilFailure{0};  // 0: none is to fail, or it has
std::atomic<bool> failed{false};

bool fails() {
  if (untilFailure.load(std::memory_order_relaxed) <= 0) return false;
  if (untilFailure.fetch_sub(1) != 1) return false;
  failed = true;
  return true;
}

}  // namespace

namespace baton::test {

Allocations allocations() {
  return counted;
}

bool failAllocation(int64_t n) {
  untilFailure = 0;
  const bool did = failed.exchange(false);
  untilFailure = n;
  return did;
}

}  // namespace baton::test

void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  if (fails()) return nullptr;
  counted.bytes += bytes;
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory != nullptr) ++counted.live;
  return memory;
}

void* operator new(std::size_t bytes) {
  void* memory = operator new(bytes, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* operator new[](std::size_t bytes) {
  return operator new(bytes);
}

void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return operator new(bytes, std::nothrow);
}

void operator delete(void* memory) noexcept {
  if (memory == nullptr) return;
  --counted.live;
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
  operator delete(memory);
}

void operator delete(void* memory, const std::nothrow_t&) noexcept {
  operator delete(memory);
}

void operator delete[](void* memory) noexcept {
  operator delete(memory);
}

void operator delete[](void* memory, std::size_t) noexcept {
  operator delete(memory);
}

void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  operator delete(memory);
}

// Aligned: what Buffer takes. Not counted.
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  if (fails()) return nullptr;
  const auto unit = static_cast<std::size_t>(alignment);
  return std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
}

void* operator new(std::size_t bytes, std::align_val_t alignment) {
  void* memory = operator new(bytes, alignment, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return operator new(bytes, alignment);
}

void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}

void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
