// SPDX-License-Identifier: Apache-2.0
// A cursor over untrusted bytes. Every take is compared with what remains first; a failure names
// the field, its value, what was expected and the byte. Field texts are built on failure only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "model/formats/gguf.h"

namespace baton {

// What is being read, e.g. {"length of the key of metadata entry", {}, 7} or {"type of tensor",
// "output.weight"}.
struct GgufField {
  const char* what;
  std::string_view name = {};
  int64_t index = -1;

  std::string text() const;
};

class GgufReader {
 public:
  GgufReader(std::span<const std::byte> bytes, std::string_view path)
      : bytes_(bytes), path_(path) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }

  template <class T>
  T scalar(const GgufField& field) {
    T value;
    std::memcpy(&value, take(sizeof(T), field).data(), sizeof(T));
    return value;
  }

  std::span<const std::byte> take(uint64_t bytes, const GgufField& field);

  // A 64-bit length and as many bytes; at most `limit`.
  std::string_view string(const GgufField& field, uint64_t limit);

  // A 64-bit count of things that take at least `eachBytes` each, so at most what remains can hold;
  // at most `limit`.
  uint64_t count(const GgufField& field, uint64_t eachBytes, uint64_t limit);

  GgufType type(const GgufField& field);

  // One value with everything inside it; `depth` counts arrays around it.
  GgufValue value(GgufType type, const GgufField& field, int depth = 0);

  // MODEL_FORMAT at byte `at`.
  [[noreturn]] void fail(const GgufField& field, std::string value, std::string expected,
                         uint64_t at) const;

 private:
  GgufValue array(const GgufField& field, int depth);

  std::span<const std::byte> bytes_;
  std::string_view path_;
  uint64_t offset_ = 0;
};

// Bytes of a value of fixed size; 0 for strings and arrays.
size_t ggufScalarBytes(GgufType type);

}  // namespace baton
