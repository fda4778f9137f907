// SPDX-License-Identifier: Apache-2.0
// Tiers behind a pool that is not in the host's memory: blocks leave the emulated device and come
// back with the same bits, first from the host's memory, then from the disk that takes what the
// host gave up.
#include "check.h"
#include "emulation/cuda_library.h"
#include "engine/cache_world.h"
#include "model/temporary_folder.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr int kRows = 100;

struct OnDevice : Cache {
  OnDevice(const emulation::EmulatedCuda& cuda, std::vector<TierSpec> tiers)
      : Cache(optionsOf(cuda, std::move(tiers))) {}

  static EngineOptions optionsOf(const emulation::EmulatedCuda& cuda, std::vector<TierSpec> tiers) {
    EngineOptions options = cacheOptions(smallPool(), smallPool());
    options.cuda = std::make_shared<CudaStream>(cuda.api(), 0);
    options.int8Activations = false;
    options.tiers = std::move(tiers);
    options.restore = RestoreMode::kAlways;
    return options;
  }

  // Takes the whole pool for other rows.
  void crowd(int32_t first) {
    engine.mover()->settle();
    written(kBlocks * kBlockRows, first);
    CHECK_EQ(last.failed, "");
    engine.mover()->settle();
  }

  std::vector<float> wanted() { return readBy(written(kRows, 5), kRows); }
};

}  // namespace

TEST("cuda tiers: blocks that left the device come back with the same bits") {
  emulation::EmulatedCuda cuda;
  const TemporaryFolder folder;
  const std::vector<float> wanted = OnDevice(cuda, {}).wanted();
  // Room for all of it, then for less than is let go, so that the disk has the oldest.
  const size_t block = smallPool() / kBlocks;
  for (const size_t hostBlocks : {size_t{40}, size_t{10}}) {
    const std::string place = folder.file(hostBlocks == 40 ? "a" : "b");
    OnDevice world(cuda, {{"disk", 4 << 20, place}, {"host", hostBlocks * block, ""}});
    CHECK(world.wanted() == wanted);
    world.crowd(211);
    const Ptr again = world.written(kRows, 5);
    REQUIRE(world.last.tiers.size() == 1);
    CHECK(world.last.tiers[0].restored);
    CHECK_EQ(world.last.tiers[0].tier, hostBlocks == 40 ? "host" : "disk");
    CHECK_EQ(world.last.done.stats.rowsComputed, 0);
    CHECK(world.readBy(again, kRows) == wanted);
    for (const TierStats& stats : world.engine.mover()->stats()) CHECK_EQ(stats.damaged, 0u);
  }
  CHECK_EQ(cuda.device().usedBytes, 0u);
}

TEST("cuda tiers: a device that is lost loses no more than its jobs") {
  emulation::EmulatedCuda cuda;
  OnDevice world(cuda, {{"host", 4 << 20, ""}});
  world.written(kRows, 5);
  world.engine.mover()->settle();
  cuda.device().lost = true;
  const Told told = world.run(World::job({World::tokens(world.segment(), kRows)}));
  CHECK(!told.failed.empty());
  world.engine.mover()->settle();
}
