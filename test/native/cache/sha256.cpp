// SPDX-License-Identifier: Apache-2.0
// SHA-256 against the example values of FIPS 180-4 and its predecessors.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "check.h"

using namespace baton;

namespace {

std::string hashOf(std::string_view text) {
  Sha256 hash;
  hash.update(text.data(), text.size());
  return hash.hex();
}

}  // namespace

TEST("sha256: published values") {
  CHECK_EQ(hashOf(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK_EQ(hashOf("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK_EQ(hashOf("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK_EQ(hashOf("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                  "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"),
           "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  CHECK_EQ(hashOf(std::string(1000000, 'a')),
           "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST("sha256: pieces of every size give the hash of the whole, at every length around a block") {
  for (size_t length = 0; length <= 130; ++length) {
    std::string text(length, ' ');
    for (size_t i = 0; i < length; ++i) text[i] = static_cast<char>(i * 37 + length);
    const std::string whole = hashOf(text);
    for (const size_t size : {size_t{1}, size_t{3}, size_t{63}, size_t{64}, size_t{65}}) {
      Sha256 hash;
      for (size_t at = 0; at < length; at += size) {
        hash.update(text.data() + at, std::min(size, length - at));
      }
      CHECK_EQ(hash.hex(), whole);
    }
  }
}

TEST("sha256: the instructions of the CPU give what the reference gives") {
  const sha256::Compress compress = sha256::compressSha();
  if (compress == nullptr) SKIP("no SHA-NI");
  for (size_t blocks = 0; blocks < 20; ++blocks) {
    std::vector<uint8_t> bytes(64 * blocks);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * i * 31 + blocks);
    sha256::State state, wanted;
    for (size_t i = 0; i < 8; ++i) {
      state[i] = wanted[i] = static_cast<uint32_t>(0x9e3779b9 * (i + blocks));
    }
    compress(state, bytes.data(), blocks);
    sha256::compress(wanted, bytes.data(), blocks);
    CHECK(state == wanted);
  }
}
