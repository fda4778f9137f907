// SPDX-License-Identifier: Apache-2.0
#include "base/crc32c.h"

#include <array>
#include <cstring>

#include "base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace baton {
namespace crc32c_detail {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected

constexpr std::array<uint32_t, 256> makeBytes() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t state = byte;
    for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) != 0 ? kPolynomial : 0);
    table[byte] = state;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kBytes = makeBytes();

}  // namespace

uint32_t update(uint32_t state, const uint8_t* data, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) state = (state >> 8) ^ kBytes[(state ^ data[i]) & 0xff];
  return state;
}

#if defined(__x86_64__)
namespace {

// The instruction takes three clocks and one can begin in each: three stretches of this many bytes
// are done side by side and put together after.
constexpr int kStretchBits = 12;
constexpr size_t kStretch = size_t{1} << kStretchBits;

// What `kStretch` bytes of zeros make of a state. That is linear over GF(2): a table for each of
// its bytes.
using Shift = std::array<std::array<uint32_t, 256>, 4>;

Shift makeShift() {
  const auto times = [](const std::array<uint32_t, 32>& columns, uint32_t state) {
    uint32_t sum = 0;
    for (size_t bit = 0; bit < columns.size(); ++bit) {
      if ((state >> bit & 1) != 0) sum ^= columns[bit];
    }
    return sum;
  };
  std::array<uint32_t, 32> columns{};  // of one byte of zeros, then of twice as many
  for (size_t bit = 0; bit < columns.size(); ++bit) {
    const uint32_t state = uint32_t{1} << bit;
    columns[bit] = (state >> 8) ^ kBytes[state & 0xff];
  }
  for (int doubled = 0; doubled < kStretchBits; ++doubled) {
    std::array<uint32_t, 32> squared{};
    for (size_t bit = 0; bit < columns.size(); ++bit) squared[bit] = times(columns, columns[bit]);
    columns = squared;
  }
  Shift shift{};
  for (size_t byte = 0; byte < shift.size(); ++byte) {
    for (uint32_t value = 0; value < 256; ++value)
      shift[byte][value] = times(columns, value << (8 * byte));
  }
  return shift;
}

uint32_t shifted(const Shift& shift, uint64_t state) {
  return shift[0][state & 0xff] ^ shift[1][state >> 8 & 0xff] ^ shift[2][state >> 16 & 0xff] ^
         shift[3][state >> 24 & 0xff];
}

uint64_t word(const uint8_t* data) {
  uint64_t value = 0;
  std::memcpy(&value, data, sizeof(value));
  return value;
}

__attribute__((target("sse4.2"))) uint32_t updateWithInstruction(uint32_t state,
                                                                 const uint8_t* data,
                                                                 size_t bytes) {
  static const Shift shift = makeShift();
  uint64_t first = state;
  for (; bytes >= 3 * kStretch; bytes -= 3 * kStretch, data += 3 * kStretch) {
    uint64_t second = 0, third = 0;
    for (size_t i = 0; i < kStretch; i += sizeof(uint64_t)) {
      first = _mm_crc32_u64(first, word(data + i));
      second = _mm_crc32_u64(second, word(data + kStretch + i));
      third = _mm_crc32_u64(third, word(data + 2 * kStretch + i));
    }
    first = shifted(shift, shifted(shift, first) ^ second) ^ third;
  }
  for (; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t), data += sizeof(uint64_t))
    first = _mm_crc32_u64(first, word(data));
  auto last = static_cast<uint32_t>(first);
  for (; bytes > 0; --bytes) last = _mm_crc32_u8(last, *data++);
  return last;
}

}  // namespace

Update updateSse42() {
  return cpuFeatures().sse42 ? updateWithInstruction : nullptr;
}
#else
Update updateSse42() {
  return nullptr;
}
#endif

}  // namespace crc32c_detail

uint32_t crc32c(uint32_t before, const void* data, size_t bytes) {
  static const crc32c_detail::Update update = crc32c_detail::updateSse42() != nullptr
                                                  ? crc32c_detail::updateSse42()
                                                  : crc32c_detail::update;
  return ~update(~before, static_cast<const uint8_t*>(data), bytes);
}

}  // namespace baton
