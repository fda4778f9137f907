// SPDX-License-Identifier: Apache-2.0
// A way of many bytes into memory of a device, in pieces: while one is on its way the next is
// written, into a buffer of this process that the device copies from by itself. Where a device has
// no such buffers, each piece is copied before the next is written.
//
// One thread calls. Whoever drops an uploader in the middle waits for what is on its way, and has
// to drop it before the memory that it sends to.
#pragma once

#include <cstddef>
#include <memory>

namespace baton {

class Memory;

class Uploader {
 public:
  virtual ~Uploader() = default;
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  // Most bytes of a piece.
  size_t size() const { return size_; }

  // Where the next piece is to be written, 64-byte aligned; waits until nothing is copied from
  // there any more. Errors as of Memory.
  virtual std::byte* room() = 0;
  // The first `bytes` of what room() gave last go to `to`, and are nobody's to write from here on.
  virtual void send(void* to, size_t bytes) = 0;
  // Everything has arrived when this returns, for whatever the device is given after.
  virtual void finish() = 0;

 protected:
  explicit Uploader(size_t size) : size_(size) {}

 private:
  const size_t size_;
};

// By Memory::upload, from one buffer. `memory` outlives it. Error(OUT_OF_MEMORY).
std::unique_ptr<Uploader> plainUploader(Memory& memory, size_t size);

}  // namespace baton
