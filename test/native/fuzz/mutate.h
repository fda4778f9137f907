// SPDX-License-Identifier: Apache-2.0
// Small damage to valid files, from a seed that is printed nowhere because it is fixed. How often
// is a matter of seconds; BATON_FUZZ=N runs N times as many, from a seed of their own for each N.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <string>

namespace baton::test {

using Random = std::mt19937_64;

inline uint64_t below(Random& random, uint64_t limit) {
  return limit == 0 ? 0 : random() % limit;
}

// Values at which arithmetic on lengths and counts goes wrong.
inline uint64_t edgeValue(Random& random) {
  static constexpr uint64_t kEdges[] = {0, 1, 2, 3, 7, 8, 9, 12, 13, 31, 32, 33, 255, 65535, 65536};
  const uint64_t shift = random() % 64;
  switch (random() % 4) {
    case 0:
      return kEdges[random() % std::size(kEdges)];
    case 1:
      return (uint64_t{1} << shift) - random() % 2;
    case 2:
      return std::numeric_limits<uint64_t>::max() - random() % 64;
    default:
      return random() >> shift;
  }
}

inline int fuzzFactor() {
  const char* text = std::getenv("BATON_FUZZ");
  return text == nullptr ? 1 : std::clamp(std::atoi(text), 1, 10000);
}

// Damage anywhere in the bytes, seven times of eight in the first `head` of them.
inline void mutate(std::string& bytes, size_t head, Random& random) {
  const uint64_t reach = random() % 8 == 0 ? bytes.size() : std::min(head, bytes.size());
  const size_t at = below(random, reach);
  if (bytes.empty()) return;
  switch (random() % 8) {
    case 0:
    case 1:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
      return;
    case 2:
      bytes[at] = static_cast<char>(random());
      return;
    case 3:
    case 4: {  // a whole number of 4 or 8 bytes
      const uint64_t value = edgeValue(random);
      const size_t width = random() % 2 == 0 ? 4 : 8;
      std::memcpy(bytes.data() + at, &value, std::min(width, bytes.size() - at));
      return;
    }
    case 5:
      bytes.resize(at);
      return;
    case 6:
      bytes.erase(at, 1 + below(random, 16));
      return;
    default:
      bytes.insert(at, bytes.substr(below(random, bytes.size()), 1 + below(random, 64)));
  }
}

}  // namespace baton::test
