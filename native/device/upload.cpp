// SPDX-License-Identifier: Apache-2.0
#include "device/upload.h"

#include "base/buffer.h"
#include "device/memory.h"

namespace baton {
namespace {

class PlainUploader : public Uploader {
 public:
  PlainUploader(Memory& memory, size_t size) : Uploader(size), memory_(memory), buffer_(size) {}

  std::byte* room() override { return buffer_.data(); }
  void send(void* to, size_t bytes) override { memory_.upload(to, buffer_.data(), bytes); }
  void finish() override {}

 private:
  Memory& memory_;
  Buffer buffer_;
};

}  // namespace

std::unique_ptr<Uploader> plainUploader(Memory& memory, size_t size) {
  return std::make_unique<PlainUploader>(memory, size);
}

}  // namespace baton
