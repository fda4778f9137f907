// SPDX-License-Identifier: Apache-2.0
#include "engine/rope_table.h"

#include <cmath>

#include "check.h"

using namespace baton;

TEST("rope table: cos and sin of position times base^(-2i/D), also far out") {
  constexpr int kHeadDim = 64;
  constexpr double kBase = 100000;
  RopeTable table(kHeadDim, {.base = kBase});
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
  RopeTable table(32, RopeSpec{});
  table.grow(5);
  const int limit = table.limit();
  const std::vector<float> cos(table.cos(), table.cos() + limit * 16);
  table.grow(3);
  CHECK_EQ(table.limit(), limit);
  table.grow(limit + 1);
  CHECK(table.limit() > limit);
  CHECK(std::equal(cos.begin(), cos.end(), table.cos()));
  RopeTable fresh(32, RopeSpec{});
  fresh.grow(table.limit());
  CHECK(std::equal(table.sin(), table.sin() + table.limit() * 16, fresh.sin()));
}

TEST("rope table: linear scaling divides every frequency, factors their own") {
  RopeTable plain(32, RopeSpec{}), scaled(32, {.base = 10000, .scale = 4});
  std::vector<float> factors(16);
  for (size_t i = 0; i < 16; ++i) factors[i] = static_cast<float>(1 << (i % 3));
  RopeTable divided(32, {.base = 10000, .scale = 2, .factors = factors});
  for (RopeTable* table : {&plain, &scaled, &divided}) table->grow(400);
  for (size_t p = 0; p < 100; ++p) {
    for (size_t i = 0; i < 16; ++i) {
      CHECK_NEAR(scaled.cos()[4 * p * 16 + i], plain.cos()[p * 16 + i], 6.1e-8);
      const size_t divisor = 2 * static_cast<size_t>(factors[i]);
      if (p % divisor != 0) continue;
      CHECK_NEAR(divided.sin()[p * 16 + i], plain.sin()[p / divisor * 16 + i], 6.1e-8);
    }
  }
}
