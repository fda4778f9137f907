// SPDX-License-Identifier: Apache-2.0
// Memory of what a model runs on. Pointers into it are that device's: only where onHost() says so
// may this process follow them. Work that a device has been given before a call here is done, as
// far as this memory is concerned, before the call reads or writes it; any thread may call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "device/upload.h"

namespace baton {

class Memory {
 public:
  virtual ~Memory() = default;

  virtual bool onHost() const = 0;

  // At least 64-byte aligned, not initialised. `what` names it in errors. Error(OUT_OF_MEMORY) with
  // the bytes needed and, where it is known, free.
  virtual std::byte* allocate(size_t bytes, const char* what) = 0;
  virtual void release(std::byte* memory) noexcept = 0;

  // A lot of memory that is used bit by bit: where a device has it, address space whose pages come
  // when they are written.
  virtual std::byte* reserve(size_t bytes, const char* what) = 0;
  virtual void unreserve(std::byte* memory, size_t bytes) noexcept = 0;

  // Throw what a device has in the way: DEVICE_UNAVAILABLE when it is lost.
  virtual void upload(void* to, const void* from, size_t bytes) = 0;
  virtual void download(void* to, const void* from, size_t bytes) = 0;
  virtual void copy(void* to, const void* from, size_t bytes) = 0;  // inside
  virtual void fill(void* to, uint8_t value, size_t bytes) = 0;

  // For a lot of bytes, in pieces of at most `size`; this memory outlives it. Error(OUT_OF_MEMORY).
  virtual std::unique_ptr<Uploader> uploader(size_t size) { return plainUploader(*this, size); }
};

// That of this process.
const std::shared_ptr<Memory>& hostMemory();

// A piece of it with one owner, not initialised, as base/buffer.h is on the host.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(Memory& memory) : memory_(&memory) {}
  ~DeviceBuffer() { memory_->release(data_); }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : memory_(other.memory_),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  // At least `bytes`, as scratch: contents do not survive growing, and where it fails there are
  // none.
  void ensure(size_t bytes, const char* what) {
    if (bytes <= size_) return;
    size_ = 0;
    memory_->release(std::exchange(data_, nullptr));
    data_ = memory_->allocate(bytes, what);
    size_ = bytes;
  }

  size_t size() const { return size_; }
  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }

  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }

 private:
  Memory* memory_;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Of float32 [rows, cols].
inline size_t matrixBytes(size_t rows, int cols) {
  return rows * static_cast<size_t>(cols) * sizeof(float);
}

}  // namespace baton
