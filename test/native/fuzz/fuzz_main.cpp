// SPDX-License-Identifier: Apache-2.0
// The program of `npm run fuzz`. BATON_FUZZ_TARGET names the target. With clang, libFuzzer has the
// main function and gets the target's sound inputs from a folder that `BATON_FUZZ_SEEDS` names and
// this fills. Without it (BATON_FUZZ_DRIVER) the main here mutates the sound inputs for
// BATON_FUZZ_SECONDS, from the seed BATON_FUZZ_SEED.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "fuzz/mutate.h"
#include "fuzz/targets.h"

namespace {

using namespace baton::test;

const char* setting(const char* name, const char* otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

const FuzzTarget& chosen() {
  static const FuzzTarget* const target = [] {
    const char* const name = setting("BATON_FUZZ_TARGET", "");
    const FuzzTarget* const found = fuzzTarget(name);
    if (found != nullptr) return found;
    std::fprintf(stderr, "BATON_FUZZ_TARGET is \"%s\"; there are:", name);
    for (const FuzzTarget& one : fuzzTargets()) std::fprintf(stderr, " %s", one.name);
    std::fprintf(stderr, "\n");
    std::exit(2);
  }();
  return *target;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  chosen().read(data, size);
  return 0;
}

#ifndef BATON_FUZZ_DRIVER

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const std::filesystem::path folder = setting("BATON_FUZZ_SEEDS", "");
  if (folder.empty()) return 0;
  int number = 0;
  for (const std::string& seed : chosen().seeds()) {
    std::ofstream(folder / ("seed-" + std::to_string(number++)), std::ios::binary) << seed;
  }
  return 0;
}

#else

int main() {
  const FuzzTarget& target = chosen();
  const std::vector<std::string> seeds = target.seeds();
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(std::atoi(setting("BATON_FUZZ_SECONDS", "10")));
  Random random(std::strtoull(setting("BATON_FUZZ_SEED", "1"), nullptr, 10));
  uint64_t runs = 0, taken = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    std::string bytes = seeds[random() % seeds.size()];
    for (uint64_t changes = random() % 4; changes != 0; --changes) {
      mutate(bytes, std::min<size_t>(bytes.size(), 4096), random);
    }
    taken += target.read(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()) ? 1 : 0;
  }
  std::printf("%s: %llu executions, %llu taken\n", target.name,
              static_cast<unsigned long long>(runs), static_cast<unsigned long long>(taken));
  return 0;
}

#endif
