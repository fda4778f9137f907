// SPDX-License-Identifier: Apache-2.0
// CRC-32C against the examples of RFC 3720, appendix B.4, and the usual check value.
#include <cstring>
#include <numeric>
#include <string_view>
#include <vector>

#include "base/crc32c.h"
#include "check.h"

using namespace baton;

namespace {

std::vector<uint8_t> someBytes(size_t count) {
  std::vector<uint8_t> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(i * i * 31 + (i >> 8) + 7);
  return bytes;
}

}  // namespace

TEST("crc32c: published values") {
  const std::string_view digits = "123456789";
  CHECK_EQ(crc32c(0, digits.data(), digits.size()), 0xe3069283u);
  CHECK_EQ(crc32c(0, nullptr, 0), 0u);
  std::vector<uint8_t> bytes(32, 0);
  CHECK_EQ(crc32c(0, bytes.data(), bytes.size()), 0x8a9136aau);
  bytes.assign(32, 0xff);
  CHECK_EQ(crc32c(0, bytes.data(), bytes.size()), 0x62a8ab43u);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  CHECK_EQ(crc32c(0, bytes.data(), bytes.size()), 0x46dd794eu);
}

TEST("crc32c: pieces give the checksum of the whole") {
  const std::vector<uint8_t> bytes = someBytes(40000);
  const uint32_t whole = crc32c(0, bytes.data(), bytes.size());
  for (const size_t cut : {size_t{1}, size_t{7}, size_t{4096}, size_t{12288}, size_t{39999}}) {
    const uint32_t before = crc32c(0, bytes.data(), cut);
    CHECK_EQ(crc32c(before, bytes.data() + cut, bytes.size() - cut), whole);
  }
}

TEST("crc32c: the instruction of the CPU gives what the reference gives") {
  const crc32c_detail::Update update = crc32c_detail::updateSse42();
  if (update == nullptr) SKIP("no SSE4.2");
  const std::vector<uint8_t> bytes = someBytes(30000);
  for (const size_t count :
       {size_t{0}, size_t{1}, size_t{8}, size_t{15}, size_t{4095}, size_t{12287}, size_t{12288},
        size_t{12289}, size_t{24600}, size_t{29993}}) {
    for (const size_t from : {size_t{0}, size_t{3}}) {
      const uint8_t* const data = bytes.data() + from;
      CHECK_EQ(update(0x12345678, data, count), crc32c_detail::update(0x12345678, data, count));
    }
  }
}
