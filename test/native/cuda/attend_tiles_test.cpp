// SPDX-License-Identifier: Apache-2.0
// attendSlots of items of many rows, by tensor cores (tile_world.h).
#include "cuda/tile_world.h"

using namespace baton;
using namespace baton::test;
using namespace baton::test::tiles;

TEST("cuda: attention of many rows by tensor cores, every KV format, group and size of head") {
  uint32_t seed = 200;
  for (const KvType kv : kTileTypes) {
    for (const int group : {1, 3, 4, 8}) {
      conform({kv, group, group == 1 ? 2 : 1, 64, 0, {stage(19)}}, ++seed);
    }
    for (const int D : {128, 256}) conform({kv, 2, 1, D, 0, {stage(35)}}, ++seed);
  }
}

TEST("cuda: attention of as many rows as a tile has, of one more and one less, and of few beside") {
  uint32_t seed = 230;
  for (const KvType kv : kTileTypes) {
    for (const int count : {17, 63, 64, 65}) {
      conform({kv, 1, 1, 64, 0, {stage(count), stage(1), stage(16)}}, ++seed);
    }
    for (const int count : {31, 33}) conform({kv, 1, 1, 256, 0, {stage(count)}}, ++seed);
  }
}

TEST("cuda: attention of many rows over split lists, which merge") {
  uint32_t seed = 240;
  for (const KvType kv : kTileTypes) {
    for (const int split : {1, 3, 4, 5}) {
      conform({kv, 3, 1, 64, 0, {stage(24, split)}}, ++seed);
    }
    conform({kv, 1, 1, 256, 0, {stage(40, 3)}}, ++seed);
  }
}

TEST("cuda: attention of many rows within a window") {
  uint32_t seed = 250;
  for (const KvType kv : kTileTypes) {
    for (const int window : {1, 16, 30, 90}) {
      conform({kv, 2, 1, 64, window, {stage(50, window == 30 ? 2 : 0)}}, ++seed);
    }
    conform({kv, 1, 1, 256, 20, {stage(40)}}, ++seed);
  }
}

TEST("cuda: attention of many rows that read nothing, or nothing but one row, is 0 or that row") {
  for (const KvType kv : kTileTypes) {
    conform({kv, 1, 1, 64, 0, {{20, 0, {}}, {20, 30, {{1, 3}}}}}, 260);
    conform({kv, 1, 1, 64, 8, {{20, 100, {{70, 0}}}}}, 261);        // all of it too far away
    conform({kv, 1, 1, 64, 0, {{20, 10, {{48, 20, true}}}}}, 262);  // the first rows nothing
    conform({kv, 1, 1, 64, 24, {{70, 0, {{200, 0, true}}}}}, 263);
  }
}

TEST(
    "cuda: attention of a row of many has the same bits whatever the rows beside it, in any "
    "order") {
  for (const KvType kv : kTileTypes) {
    const TileProblem p{kv, 2, 1, 64, 0, {stage(65)}};
    Random random(7);
    World world(p, random);
    const Result all = run(p, world, true);
    emulation::setOrder(emulation::Order::kBackwards);
    CHECK(same(all, run(p, world, true)));
    emulation::setOrder(emulation::Order::kForwards);
    CHECK(!same(all, run(p, world, false)));  // which another kernel makes
    AttendItem& item = world.items[0];
    item.queryRow += 23, item.position += 23, item.state += 23, item.rows = 30;
    const Result some = run(p, world, true);
    const size_t each = static_cast<size_t>(p.group * p.D);
    CHECK(sameBits(all.out.data() + 23 * each, some.out.data() + 23 * each, 30 * each));
    CHECK(std::isnan(some.out[22 * each]) && std::isnan(some.out[53 * each]));
  }
}

TEST("cuda: attention of 16 rows and of float32 KV has the bits that it has without tensor cores") {
  for (const KvType kv : {KvType::kBF16, KvType::kF32}) {
    const TileProblem p{kv, 1, 1, 64, 0, {stage(kv == KvType::kF32 ? 40 : 16)}};
    Random random(8);
    const World world(p, random);
    CHECK(same(run(p, world, true), run(p, world, false)));
  }
}

TEST("cuda: what is not finite reaches the rows that read it and no other, of many, too") {
  for (const KvType kv : {KvType::kF16, KvType::kBF16}) {
    const TileProblem p{kv, 1, 1, 64, 0, {stage(40)}};
    Random random(9);
    World world(p, random);
    // Row 20 of the 40, which stand behind 16 of their segment.
    const int slot = 3 + 1 + 1 + 36 / 16, row = 36 % 16;
    const size_t at = world.at(p, slot, row, 0);
    std::fill_n(world.v.begin() + static_cast<std::ptrdiff_t>(at), p.D, kNan);
    world.store(p, slot, row);
    const Result result = run(p, world, true);
    for (int r = 0; r < 40; ++r) {
      if (r < 20) checkHead(p, world, r, 0, result);
      CHECK_EQ(std::isnan(result.out[static_cast<size_t>(r * p.D)]), r >= 20);
    }
  }
}

TEST("cuda: queries beyond float16 are attended in float32") {
  const TileProblem p{KvType::kF16, 1, 1, 64, 0, {stage(20)}};
  Random random(10);
  World world(p, random);
  world.q[5 * 64 + 3] = 1e6f;
  CHECK(same(run(p, world, true), run(p, world, false)));
}
