// SPDX-License-Identifier: Apache-2.0
// An aligned block of memory with one owner, not initialised. What must not allocate in a step
// allocates here at load. Spans and pointers elsewhere are views.
#pragma once

#include <cstddef>

namespace baton {

class Buffer {
 public:
  Buffer() = default;
  // `alignment` is a power of two. Throws Error(OUT_OF_MEMORY) naming the bytes.
  explicit Buffer(size_t bytes, size_t alignment = 64);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  // At least `bytes`, as scratch: contents do not survive growing.
  void ensure(size_t bytes) {
    if (bytes > size_) *this = Buffer(bytes, alignment_);
  }

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t alignment_ = 64;
};

}  // namespace baton
