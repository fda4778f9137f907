// SPDX-License-Identifier: Apache-2.0
// What a test says of the library that stands for cuBLASLt, and what it did.
#pragma once

#include <cstddef>

struct FakeCublasLt {
  size_t version = 130002;
  int createStatus = 0;
  bool noAlgorithm = false;     // heuristics find none
  int multiplyStatus = 0;       // of products, which then do nothing
  unsigned leastAlignment = 0;  // heuristics: what the last one was told of D
  int live = 0;                 // handles, descriptions and layouts that were not destroyed
  int heuristics = 0;
  int products = 0;
};
