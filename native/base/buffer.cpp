// SPDX-License-Identifier: Apache-2.0
#include "base/buffer.h"

#include <new>
#include <utility>

#include "base/error.h"

namespace baton {

Buffer::Buffer(size_t bytes, size_t alignment) : size_(bytes), alignment_(alignment) {
  if (bytes == 0) return;
  data_ = static_cast<std::byte*>(::operator new(bytes, std::align_val_t{alignment}, std::nothrow));
  if (data_ == nullptr) {
    throw Error(code::kOutOfMemory,
                "Could not allocate " + std::to_string(bytes) +
                    " bytes. Free memory, or lower the cache budget or the context length.",
                {{"bytesNeeded", static_cast<double>(bytes)}});
  }
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::operator delete(data_, std::align_val_t{alignment_});
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      alignment_(other.alignment_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(alignment_, other.alignment_);
  return *this;
}

}  // namespace baton
