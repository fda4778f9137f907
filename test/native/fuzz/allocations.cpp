// SPDX-License-Identifier: Apache-2.0
// Replaces operator new of the whole test program by malloc with two counters beside it; the forms
// for arrays and without exceptions call these. Sanitizers see malloc as before.
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

void* operator new(std::size_t bytes) {
  counted.bytes += bytes;
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  ++counted.live;
  return memory;
}

void operator delete(void* memory) noexcept {
  if (memory == nullptr) return;
  --counted.live;
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
  operator delete(memory);
}
