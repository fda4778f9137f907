// SPDX-License-Identifier: Apache-2.0
#include "engine/rope_table.h"

#include <cmath>

#include "check.h"

using namespace baton;

TEST("rope table: cos and sin of position times base^(-2i/D), also far out") {
  constexpr int kHeadDim = 64;
  constexpr double kBase = 100000;
  RopeTable table(kHeadDim, kBase);
  table.grow(20000);
  CHECK(table.limit() >= 20000);
  for (int position = 0; position < 20000; position += position < 100 ? 1 : 997) {
    for (int i = 0; i < kHeadDim / 2; ++i) {
      const long double frequency = std::pow(static_cast<long double>(kBase), -2.0L * i / kHeadDim);
      const long double angle = position * frequency;
      const size_t at = static_cast<size_t>(position) * (kHeadDim / 2) + static_cast<size_t>(i);
      CHECK_NEAR(table.cos()[at], std::cos(angle), 6.1e-8);  // half a float's step at 1
      CHECK_NEAR(table.sin()[at], std::sin(angle), 6.1e-8);
    }
  }
}

TEST("rope table: growing keeps what was there and never shrinks") {
  RopeTable table(32, 10000);
  table.grow(5);
  const int limit = table.limit();
  const std::vector<float> cos(table.cos(), table.cos() + limit * 16);
  table.grow(3);
  CHECK_EQ(table.limit(), limit);
  table.grow(limit + 1);
  CHECK(table.limit() > limit);
  CHECK(std::equal(cos.begin(), cos.end(), table.cos()));
  RopeTable fresh(32, 10000);
  fresh.grow(table.limit());
  CHECK(std::equal(table.sin(), table.sin() + table.limit() * 16, fresh.sin()));
}
