// SPDX-License-Identifier: Apache-2.0
// attendSlots of items that are not consecutive rows of one reader: rows of several, and none.
#include "cuda/tile_world.h"

using namespace baton;
using namespace baton::test;
using namespace baton::test::tiles;

// Rows of branches, few or many, beside those of a stage.
TEST("cuda: attention of rows of several readers in one item, by tensor cores") {
  uint32_t seed = 270;
  for (const KvType kv : kTileTypes) {
    for (const int window : {0, 60}) {
      for (const int count : {4, 20, 64}) {
        const Rows branches{count, 90, {{48, 0}, {21, 48}}, count % 5, true};
        conform({kv, 4, 1, 64, window, {branches, stage(1), stage(20)}}, ++seed);
      }
      conform({kv, 1, 1, 256, window, {{9, 70, {{70, 0}}, 3, true}}}, ++seed);
    }
  }
}

TEST("cuda: an item without rows does nothing and writes nothing") {
  for (const KvType kv : {KvType::kBF16, KvType::kF32}) {
    const TileProblem p{kv, 1, 1, 64, 0, {stage(20), stage(3), stage(5, 2)}};
    Random random(11);
    World world(p, random);
    for (const bool halves : {true, false}) {
      const Result before = run(p, world, halves);
      World padded = world;
      padded.items.insert(padded.items.begin() + padded.few, 2, AttendItem{});
      padded.few += 2;
      padded.items.insert(padded.items.end(), 3, AttendItem{});
      CHECK(same(before, run(p, padded, halves)));
    }
  }
}
