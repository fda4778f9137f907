// SPDX-License-Identifier: Apache-2.0
// Each target of `npm run fuzz`, for a moment: what it begins with is taken, and damage of any kind
// is met by both outcomes and no other. Readers of model files have longer tests of their own.
#include "fuzz/targets.h"

#include "check.h"
#include "fuzz/mutate.h"

using namespace baton::test;

namespace {

bool readBy(const FuzzTarget& target, const std::string& bytes) {
  return target.read(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

TEST("fuzz targets: sound inputs are taken, damaged ones are taken or refused") {
  for (const FuzzTarget& target : fuzzTargets()) {
    const std::vector<std::string> seeds = target.seeds();
    CHECK(!seeds.empty());
    for (const std::string& seed : seeds) {
      if (!CHECK(readBy(target, seed))) noteFailed(__FILE__, __LINE__, target.name);
    }
    const std::string name = target.name;
    const bool files = name == "disk-tier" || name == "hugging-face";
    const int rounds = (files ? 300 : 3000) * fuzzFactor();
    Random random(20261123 + static_cast<uint64_t>(fuzzFactor()));
    int taken = 0;
    for (int round = 0; round < rounds; ++round) {
      std::string bytes = seeds[random() % seeds.size()];
      for (uint64_t changes = 1 + random() % 3; changes != 0; --changes) {
        mutate(bytes, std::min<size_t>(bytes.size(), 1024), random);
      }
      taken += readBy(target, bytes) ? 1 : 0;
    }
    if (!CHECK(taken > 0)) noteFailed(__FILE__, __LINE__, name + ": none was taken");
    if (!CHECK(taken < rounds)) noteFailed(__FILE__, __LINE__, name + ": all were taken");
  }
}
