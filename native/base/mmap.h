// SPDX-License-Identifier: Apache-2.0
// A read-only mapping of a whole file. Pages come from the file on first touch and can be dropped
// by the system at any time, so a mapped model costs no private memory. Whoever computes with it
// asks afterwards whether it is whole: where the file was cut meanwhile, zeros were read
// (fault_guard.h). What somebody writes into the file without cutting it is read as it is then.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/fault_guard.h"

namespace baton {

class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  // Errors: IO (cannot be opened, no regular file, cannot be mapped), OUT_OF_MEMORY (no address
  // space). An empty file maps to no bytes.
  static MappedFile open(const std::string& path);

  std::span<const std::byte> bytes() const { return bytes_; }

  // False once bytes of it could not be read: the file has fewer, or its disk failed.
  bool whole() const { return guard_.intact(); }

  // Gives the memory of whole pages within [data, data + bytes) back to the system; the next touch
  // reads them from the file again. Does nothing for what is not of this mapping.
  void release(const void* data, size_t bytes) const;

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
  FaultGuard guard_;
};

}  // namespace baton
