// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4). Identities of models and of KV must not collide by accident or by intent,
// so a cryptographic hash; written here because a fresh clone builds with nothing but a compiler.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace baton {

using Digest = std::array<uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  void update(const void* data, size_t bytes);
  Digest digest();  // ends the message; the object is spent
  std::string hex() { return toHex(digest()); }

  static std::string toHex(const Digest& digest);

 private:
  void compress(const uint8_t* block);

  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> buffer_;
  uint64_t bytes_ = 0;
};

}  // namespace baton
