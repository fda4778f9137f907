// SPDX-License-Identifier: Apache-2.0
#include "device/memory.h"

#include <sys/mman.h>

#include <cstring>
#include <new>
#include <string>

#include "base/error.h"

namespace baton {
namespace {

constexpr std::align_val_t kAlignment{64};

class HostMemory : public Memory {
 public:
  bool onHost() const override { return true; }

  std::byte* allocate(size_t bytes, const char* what) override {
    if (bytes == 0) return nullptr;
    void* memory = ::operator new(bytes, kAlignment, std::nothrow);
    if (memory == nullptr) {
      throw Error(code::kOutOfMemory,
                  std::string("Could not allocate ") + std::to_string(bytes) + " bytes for " +
                      what + ". Free memory, or lower the cache budget or maxBatchRows.",
                  {{"bytesNeeded", double(bytes)}});
    }
    return static_cast<std::byte*>(memory);
  }

  void release(std::byte* memory) noexcept override {
    if (memory != nullptr) ::operator delete(memory, kAlignment);
  }

  std::byte* reserve(size_t bytes, const char* what) override {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      throw Error(code::kOutOfMemory,
                  std::string("no address space for ") + what + " of " + std::to_string(bytes) +
                      " bytes; lower cacheBytes",
                  {{"needed", double(bytes)}});
    }
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes, MADV_HUGEPAGE);  // a hint: failing changes nothing
#endif
    return static_cast<std::byte*>(memory);
  }

  void unreserve(std::byte* memory, size_t bytes) noexcept override {
    if (memory != nullptr) munmap(memory, bytes);
  }

  void upload(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  void copy(void* to, const void* from, size_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  void fill(void* to, uint8_t value, size_t bytes) override {
    if (bytes > 0) std::memset(to, value, bytes);
  }
};

}  // namespace

const std::shared_ptr<Memory>& hostMemory() {
  static const std::shared_ptr<Memory> memory = std::make_shared<HostMemory>();
  return memory;
}

}  // namespace baton
