// SPDX-License-Identifier: Apache-2.0
#include "cache/pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "base/error.h"

namespace baton {
namespace {

bool poisonWanted() {
  const char* wanted = std::getenv("BATON_POISON_CACHE");
  return wanted != nullptr && std::string_view(wanted) == "1";
}

}  // namespace

Pool::Pool(const KvShape& shape, size_t budgetBytes)
    : shape_(shape), poisoned_(poisonWanted()), total_(budgetBytes / shape.blockBytes()) {
  if (total_ == 0) {
    throw Error(code::kOptionInvalid,
                "cacheBytes is " + std::to_string(budgetBytes) + ", less than one block of " +
                    std::to_string(shape.blockBytes()) + " bytes; give at least that much",
                {{"cacheBytes", double(budgetBytes)}, {"blockBytes", double(shape.blockBytes())}});
  }
  mappedBytes_ = total_ * shape.blockBytes();
  void* memory = mmap(nullptr, mappedBytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw Error(code::kOutOfMemory,
                "no address space for a KV pool of " + std::to_string(mappedBytes_) +
                    " bytes; lower cacheBytes",
                {{"needed", double(mappedBytes_)}});
  }
  base_ = static_cast<std::byte*>(memory);
  total_ = std::min<size_t>(
      total_, INT32_MAX);  // block numbers; blocks so small that it matters are those of tests
  madvise(memory, mappedBytes_, MADV_HUGEPAGE);  // a hint: failing changes nothing
  free_.reserve(1024);
}

Pool::~Pool() {
  munmap(base_, mappedBytes_);
}

void Pool::requireLocked(size_t count) const {
  if (total_ - used_ >= count) return;
  const double needed = double(count * shape_.blockBytes());
  const double unused = double((total_ - used_) * shape_.blockBytes());
  throw Error(code::kCacheBudget,
              "the KV pool has " + std::to_string(size_t(unused)) + " bytes free and " +
                  std::to_string(size_t(needed)) +
                  " are needed; raise cacheBytes, shorten the inputs, or run fewer chains at once",
              {{"needed", needed}, {"free", unused}, {"budget", double(mappedBytes_)}});
}

void Pool::require(size_t count) const {
  const std::lock_guard lock(mutex_);
  requireLocked(count);
}

void Pool::allocate(size_t count, std::vector<int32_t>& blocks) {
  const std::lock_guard lock(mutex_);
  requireLocked(count);
  blocks.reserve(blocks.size() + count);
  for (size_t i = 0; i < count; ++i) {
    if (free_.empty()) {
      blocks.push_back(static_cast<int32_t>(touched_++));
    } else {
      blocks.push_back(free_.back());
      free_.pop_back();
    }
  }
  poison(blocks.data() + blocks.size() - count, count);
  used_ += count;
  peak_ = std::max(peak_, used_);
  // Room for every block in use, so that release() never allocates and cannot fail.
  if (free_.capacity() < touched_) free_.reserve(std::max(touched_, 2 * free_.capacity()));
}

void Pool::release(const int32_t* blocks, size_t count) noexcept {
  const std::lock_guard lock(mutex_);
  poison(blocks, count);
  free_.insert(free_.end(), blocks, blocks + count);
  used_ -= count;
}

void Pool::poison(const int32_t* blocks, size_t count) const noexcept {
  if (!poisoned_) return;
  for (size_t i = 0; i < count; ++i) {
    std::memset(base_ + static_cast<size_t>(blocks[i]) * shape_.blockBytes(), 0xFF,
                shape_.blockBytes());
  }
}

Pool::Stats Pool::stats() const {
  const std::lock_guard lock(mutex_);
  return {total_, used_, peak_, shape_.blockBytes(), segments_};
}

void Pool::countSegment(int delta) noexcept {
  const std::lock_guard lock(mutex_);
  segments_ += static_cast<size_t>(delta);
}

}  // namespace baton
