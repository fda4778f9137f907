// SPDX-License-Identifier: Apache-2.0
// Replaces operator new of the whole test program by malloc with two counters beside it. All forms
// but the aligned ones are replaced: a sanitizer brings its own of each, and a block must not be
// taken by one and given back by another. Sanitizers see malloc as before.
#include "fuzz/allocations.h"

#include <cstdlib>
#include <new>

namespace {

thread_local baton::test::Allocations counted;

}  // namespace

namespace baton::test {

Allocations allocations() {
  return counted;
}

}  // namespace baton::test

void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
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
