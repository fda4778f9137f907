// SPDX-License-Identifier: Apache-2.0
// Rows that come back from a tier: the same logits as if they had been computed, in this process
// and in the next, beside other jobs, after damage, without room. Every world runs on a poisoned
// pool.
#include <filesystem>
#include <fstream>

#include "check.h"
#include "engine/cache_world.h"
#include "model/temporary_folder.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr int kRows = 100;  // of what is to come back: 7 blocks of the pool's 16

// A small pool over a disk.
struct Tiered : Cache {
  explicit Tiered(const TemporaryFolder& folder, RestoreMode restore = RestoreMode::kAlways)
      : Cache(optionsOf(folder, restore)) {}

  static EngineOptions optionsOf(const TemporaryFolder& folder, RestoreMode restore) {
    EngineOptions options = cacheOptions(smallPool(), smallPool());
    options.tiers = {{"disk", 8 << 20, folder.file("tier")}};
    options.restore = restore;
    return options;
  }

  // Other rows take the whole pool but for the `held` ones.
  void crowd(int held = 0) {
    engine.mover()->settle();
    written(kBlocks * kBlockRows - held, 211);
    CHECK_EQ(last.failed, "");
    engine.mover()->settle();
  }
  FoundEvent only() const { return last.found.empty() ? FoundEvent{} : last.found[0]; }
  TierEvent tier() const { return last.tiers.empty() ? TierEvent{} : last.tiers[0]; }
  uint64_t read() const { return engine.mover()->stats().at(0).read; }
};

std::vector<float> coldLogits(int rows = kRows) {
  Cache cold(0);
  return cold.readBy(cold.written(rows, 5), rows);
}

}  // namespace

TEST("restore: rows that were given up come back with the same bits, and are not computed") {
  const TemporaryFolder folder;
  Tiered world(folder);
  world.written(kRows, 5);
  world.crowd();
  const Ptr again = world.written(kRows, 5);
  CHECK_EQ(world.only().found, kRows);
  CHECK_EQ(world.last.done.stats.rowsComputed, 0);
  CHECK_EQ(world.tier().rows, kRows);
  CHECK_EQ(world.tier().tier, "disk");
  CHECK(world.tier().restored);
  CHECK(world.tier().tookMs > 0);
  CHECK_EQ(world.tier().bytes, 7 * world.engine.pool()->shape().blockBytes());
  CHECK_EQ(world.read(), 7u);
  CHECK(world.readBy(again, kRows) == coldLogits());
}

TEST("restore: what the pool still has is not read, only what is missing behind it") {
  const TemporaryFolder folder;
  Tiered world(folder);
  const Ptr half = world.written(48, 5);
  world.written(kRows, 5);
  world.crowd(48);
  const Ptr again = world.written(kRows, 5);
  CHECK_EQ(world.tier().rows, kRows - 48);
  CHECK_EQ(world.only().found, kRows);
  CHECK(world.readBy(again, kRows) == coldLogits());
}

TEST("restore: the next process finds what this one left") {
  const TemporaryFolder folder;
  {
    Tiered(folder).written(kRows, 5);
  }
  Tiered world(folder);
  const Ptr again = world.written(kRows, 5);
  CHECK_EQ(world.only().found, kRows);
  CHECK_EQ(world.last.done.stats.rowsComputed, 0);
  CHECK(world.readBy(again, kRows) == coldLogits());
}

TEST("restore: what is damaged on the disk is computed again") {
  const TemporaryFolder folder;
  {
    Tiered(folder).written(kRows, 5);
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder.file("tier"))) {
    if (entry.path().extension() != ".blocks") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    const auto block = static_cast<std::streamoff>(std::filesystem::file_size(entry.path()) / 7);
    file.seekp(3 * block + 17);
    file.write("damage", 6);
  }
  Tiered world(folder);
  const Ptr again = world.written(kRows, 5);
  CHECK(world.only().found < kRows);
  CHECK_EQ(world.only().found + world.last.done.stats.rowsComputed, kRows);
  CHECK_EQ(world.engine.mover()->stats().at(0).damaged, 1u);
  CHECK(world.readBy(again, kRows) == coldLogits());
}

TEST("restore: computing is chosen where it is told to be faster, and told so") {
  const TemporaryFolder folder;
  Tiered never(folder, RestoreMode::kNever);
  never.written(kRows, 5);
  never.crowd();
  const Ptr again = never.written(kRows, 5);
  CHECK_EQ(never.only().found, 0);
  CHECK(never.only().reason == MissReason::kComputedFaster);
  CHECK(!never.tier().restored);
  CHECK_EQ(never.last.done.stats.rowsComputed, kRows);
  CHECK(never.readBy(again, kRows) == coldLogits());
}

TEST("restore: the choice follows the figures that it tells") {
  const TemporaryFolder folder;
  Tiered world(folder, RestoreMode::kFaster);
  for (int round = 0; round < 6; ++round) {
    world.written(kRows, 5);
    if (round > 0) {
      const TierEvent event = world.tier();
      const bool known = event.restoreMs > 0 && event.recomputeMs > 0;
      CHECK_EQ(event.restored, !known || event.restoreMs < event.recomputeMs);
      CHECK(round < 2 || known);
    }
    world.crowd();
  }
}

TEST("restore: two jobs that need the same rows read them once") {
  const TemporaryFolder folder;
  {
    Tiered(folder).written(kRows, 5);
  }
  Tiered world(folder);
  const Ptr first = world.segment(), second = world.segment();
  const uint64_t a = world.engine.submit(World::job({Cache::closing(World::tokens(first, kRows))}));
  const uint64_t b =
      world.engine.submit(World::job({Cache::closing(World::tokens(second, kRows))}));
  CHECK_EQ(world.sink->end(a).done.stats.rowsFound, kRows);
  CHECK_EQ(world.sink->end(b).done.stats.rowsFound, kRows);
  CHECK_EQ(world.read(), 7u);
  CHECK(world.readBy(second, kRows) == coldLogits());
}

TEST("restore: a job that is cancelled while it waits, or as the engine closes, leaves no block") {
  const TemporaryFolder folder;
  {
    Tiered(folder).written(kRows, 5);
  }
  for (const bool closes : {false, true}) {
    Tiered world(folder);
    const Ptr segment = world.segment();
    const uint64_t id = world.engine.submit(World::job({World::tokens(segment, kRows)}));
    if (closes) {
      world.engine.close();
    } else {
      world.engine.cancel(id);
    }
    const Told told = world.sink->end(id);
    CHECK(told.failed.empty() || told.failed == (closes ? code::kClosed : code::kAborted));
    world.engine.close();
    if (!told.failed.empty()) CHECK_EQ(world.used(), 0u);
  }
}

TEST("restore: without room nothing is read, and the job fails as it would without tiers") {
  const TemporaryFolder folder;
  {
    Tiered(folder).written(kRows, 5);
  }
  Tiered world(folder);
  const Ptr held = world.written(12 * kBlockRows, 211);
  const Told told = world.run(World::job({World::tokens(world.segment(), kRows)}));
  CHECK_EQ(told.failed, code::kCacheBudget);
  REQUIRE(told.tiers.size() == 1);
  CHECK(!told.tiers[0].restored);
  CHECK_EQ(world.read(), 0u);
  CHECK_EQ(world.used(), 12u);
}

TEST("restore: blocks that nobody is going to need are neither kept nor moved") {
  const TemporaryFolder folder;
  Tiered world(folder);
  Ptr branch = world.written(kRows, 5);
  branch->retain({Retain::kDrop, 0});
  branch.reset();
  world.engine.mover()->settle();
  CHECK_EQ(world.engine.pool()->stats().blocksKept, 0u);
  CHECK_EQ(world.engine.mover()->stats().at(0).blocks, 0u);
}

TEST("restore: ephemeral branches do not push out a trunk that is to be resumed") {
  const TemporaryFolder folder;
  Tiered world(folder, RestoreMode::kNever);
  Ptr trunk = world.written(kRows, 5);
  trunk->retain({Retain::kResume, Ranking::now() + 1e9});
  trunk.reset();
  for (int32_t branch = 0; branch < 10; ++branch) world.written(9 * kBlockRows, 211 + 7 * branch);
  world.written(kRows, 5);
  CHECK_EQ(world.only().found, kRows);
}
