// SPDX-License-Identifier: Apache-2.0
// Readers of files from anywhere, as things to be fuzzed: any bytes are taken or refused by a typed
// error; anything else throws std::logic_error, which is a find. Each brings sound inputs to begin
// with. A new reader is a function and a line of the table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace baton::test {

struct FuzzTarget {
  const char* name;
  // True: taken.
  bool (*read)(const uint8_t* data, size_t size);
  std::vector<std::string> (*seeds)();
};

const std::vector<FuzzTarget>& fuzzTargets();

// Null: there is none of this name.
const FuzzTarget* fuzzTarget(const std::string& name);

// gguf_fuzz.cpp
bool readHostileModel(const uint8_t* data, size_t size);
std::vector<std::string> ggufSeeds();

}  // namespace baton::test
