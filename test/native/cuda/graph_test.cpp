// SPDX-License-Identifier: Apache-2.0
// Graphs on the emulated device: what is written down is not done until it is issued, and the
// engine's tokens, aborts and errors are the same with them and without.
#include <thread>

#include "check.h"
#include "emulation/cuda.h"
#include "emulation/cuda_library.h"
#include "engine/step_graphs.h"
#include "engine/world.h"

using namespace baton;
using namespace baton::test;

namespace {

EngineOptions on(const emulation::EmulatedCuda& cuda, bool int8 = false) {
  EngineOptions options;
  options.cuda = std::make_shared<CudaStream>(cuda.api(), 0);
  options.kvType = KvType::kF16;
  options.int8Activations = int8;
  options.cacheBytes = 4 << 20;
  options.maxBatchRows = 96;
  return options;
}

// A chain that grows for long, and others that come and go beside it: one reads a shared input, one
// the same with a shift, whose rows have several states to merge.
std::vector<std::vector<int32_t>> decode(const EngineOptions& options) {
  World world(options);
  const auto shared = world.segment();
  Append input = World::tokens(shared, 40);
  input.close = true;
  world.sink->end(world.engine.submit(World::job({std::move(input)})));
  world.sink->hold();
  std::vector<uint64_t> jobs;
  const auto submit = [&](const std::shared_ptr<Segment>& segment, int rows, int tokens) {
    jobs.push_back(world.engine.submit(
        World::generation(World::tokens(segment, rows, 11), World::greedy(tokens))));
  };
  const auto grows = world.segment();
  const auto reads = world.segment(40, {{shared, 40, 0}});
  const auto shifted = world.segment(30, {{shared, 30, -10}});
  submit(grows, 50, 30);
  submit(reads, 3, 16);
  submit(shifted, 5, 9);
  world.sink->letGo();
  std::vector<std::vector<int32_t>> tokens;
  for (const uint64_t job : jobs) {
    const Told told = world.sink->end(job);
    CHECK_EQ(told.failed, "");
    tokens.push_back(told.tokens);
  }
  return tokens;
}

std::string reasonOf(const Told& told) {
  for (const auto& [key, value] : told.facts) {
    if (key == "reason") return std::get<std::string>(value);
  }
  return "";
}

}  // namespace

TEST("graphs: room for a list is enough, never a third too much, and seldom another") {
  size_t different = 0;
  for (size_t n = 1; n <= 5000; ++n) {
    const size_t room = listRoom(n);
    CHECK(room >= n);
    CHECK(3 * room <= 4 * n);
    CHECK(room >= listRoom(n - 1));
    different += room != listRoom(n - 1) ? 1 : 0;
  }
  CHECK(different < 50);
  CHECK_EQ(listRoom(0), 0u);
}

TEST("graphs: of too many shapes the one that was not asked for the longest is forgotten") {
  StepGraphs graphs;
  const auto shapeOf = [](size_t i) { return StepShape{{static_cast<int64_t>(i)}, {}}; };
  const size_t all = StepGraphs::kMost;
  for (size_t i = 0; i < all; ++i) graphs.of(shapeOf(i)).seen = true;
  graphs.of(shapeOf(0));
  graphs.of(shapeOf(all));
  CHECK(graphs.of(shapeOf(0)).seen);
  CHECK(graphs.of(shapeOf(2)).seen);
  CHECK(!graphs.of(shapeOf(1)).seen);
}

TEST("graphs: what is written down is done when it is issued, as often as it is") {
  emulation::EmulatedCuda cuda;
  CudaStream stream(cuda.api(), 0);
  DeviceBuffer from(stream), to(stream);
  from.ensure(64, "a test");
  to.ensure(64, "a test");
  const auto read = [&] {
    std::vector<uint8_t> bytes(64);
    stream.download(bytes.data(), to.data(), bytes.size());
    return bytes;
  };
  stream.fill(from.data(), 1, 64);
  stream.fill(to.data(), 0, 64);
  CudaStream::Graph graph;
  {
    CudaStream::Capture capture(stream);
    stream.copy(to.data(), from.data(), 32);
    stream.fill(to.data() + 48, 9, 16);
    graph = capture.finish();
  }
  REQUIRE(graph);
  CHECK(read() == std::vector<uint8_t>(64, 0));
  std::vector<uint8_t> want(64, 0);
  for (uint8_t value = 1; value < 4; ++value) {
    stream.fill(from.data(), value, 64);
    stream.issue(graph);
    std::fill_n(want.begin(), 32, value);
    std::fill(want.begin() + 48, want.end(), uint8_t{9});
    CHECK(read() == want);
  }
}

TEST(
    "graphs: what a graph cannot hold is refused while it is written, and what is left forgotten") {
  emulation::EmulatedCuda cuda;
  CudaStream stream(cuda.api(), 0);
  DeviceBuffer memory(stream);
  memory.ensure(16, "a test");
  stream.fill(memory.data(), 3, 16);
  std::vector<uint8_t> bytes(16);
  {
    const CudaStream::Capture capture(stream);
    stream.fill(memory.data(), 4, 16);
    CHECK_THROWS("DEVICE_UNAVAILABLE", stream.download(bytes.data(), memory.data(), 16));
    CHECK_THROWS("DEVICE_UNAVAILABLE", stream.upload(memory.data(), bytes.data(), 16));
    CHECK_THROWS("DEVICE_UNAVAILABLE", stream.allocate(16, "a test"));
    CHECK_THROWS("DEVICE_UNAVAILABLE", CudaStream::Capture{stream});
  }
  stream.download(bytes.data(), memory.data(), 16);
  CHECK(bytes == std::vector<uint8_t>(16, 3));
}

TEST("graphs: another thread's work is done while a graph is written, and is no part of it") {
  emulation::EmulatedCuda cuda;
  CudaStream stream(cuda.api(), 0);
  DeviceBuffer memory(stream);
  memory.ensure(16, "a test");
  CudaStream::Capture capture(stream);
  std::vector<uint8_t> bytes(16, 7);
  std::thread([&] {
    stream.upload(memory.data(), bytes.data(), 16);
    bytes.assign(16, 0);
    stream.download(bytes.data(), memory.data(), 16);
  }).join();
  CHECK(bytes == std::vector<uint8_t>(16, 7));
  stream.issue(capture.finish());  // empty
  stream.download(bytes.data(), memory.data(), 16);
  CHECK(bytes == std::vector<uint8_t>(16, 7));
}

TEST("graphs: decoding issues them again and again, and no token is another for it") {
  for (const bool int8 : {false, true}) {
    emulation::EmulatedCuda cuda;
    const auto got = decode(on(cuda, int8));
    const uint64_t graphs = cuda.device().graphs, replays = cuda.device().replays;
    CHECK(graphs >= 3);
    CHECK(replays >= 2 * graphs);
    cuda.device().refusesGraphs = true;
    const auto want = decode(on(cuda, int8));
    CHECK_EQ(cuda.device().replays, replays);
    CHECK(got == want);
    if (int8) continue;
    cuda.device().refusesGraphs = false;
    cuda.device().refusesLaunches = true;
    CHECK(decode(on(cuda)) == want);
    CHECK_EQ(cuda.device().graphs, graphs);
  }
}

TEST("graphs: a job that is aborted in the middle of one ends so, and the others do not notice") {
  emulation::EmulatedCuda cuda;
  const auto tokens = [&](bool abort) {
    World world(on(cuda));
    world.sink->hold();
    const auto first = world.segment(), second = world.segment();
    const uint64_t stays =
        world.engine.submit(World::generation(World::tokens(first, 9), World::greedy(30)));
    const uint64_t goes =
        world.engine.submit(World::generation(World::tokens(second, 6, 40), World::greedy(500)));
    const uint64_t before = cuda.device().replays;
    int pieces = 0;
    cuda.device().inGraph = [&] {
      if (abort && cuda.device().replays == before + 3 && ++pieces == 5) world.engine.cancel(goes);
    };
    world.sink->letGo();
    if (abort) {
      CHECK_EQ(world.sink->end(goes).failed, "ABORTED");
      CHECK_EQ(second->rows(), 0);
    }
    const Told told = world.sink->end(stays);
    CHECK_EQ(told.failed, "");
    if (!abort) world.engine.cancel(goes);
    world.sink->end(goes);
    cuda.device().inGraph = {};
    return told.tokens;
  };
  CHECK(tokens(true) == tokens(false));
}

TEST("graphs: a device that is lost in the middle of one fails every job, and the process lives") {
  emulation::EmulatedCuda cuda;
  World world(on(cuda));
  const uint64_t before = cuda.device().replays;
  int pieces = 0;
  cuda.device().inGraph = [&] {
    if (cuda.device().replays == before + 2 && ++pieces == 4) cuda.device().lost = true;
  };
  for (int i = 0; i < 2; ++i) {
    const auto segment = world.segment();
    const Told told = world.sink->end(
        world.engine.submit(World::generation(World::tokens(segment, 9), World::greedy(20))));
    CHECK_EQ(told.failed, "DEVICE_UNAVAILABLE");
    CHECK_EQ(reasonOf(told), "device-lost");
    CHECK_EQ(segment->rows(), 0);
  }
  CHECK_EQ(pieces, 4);
}

TEST("graphs: memory that has to move in between leads to no graph of before") {
  emulation::EmulatedCuda cuda;
  const auto tokens = [&](bool grows) {
    World world(on(cuda));
    const auto segment = world.segment();
    std::vector<int32_t> all;
    for (int turn = 0; turn < 3; ++turn) {
      const Told told = world.sink->end(
          world.engine.submit(World::generation(World::tokens(segment, 2, 30), World::greedy(9))));
      CHECK_EQ(told.failed, "");
      all.insert(all.end(), told.tokens.begin(), told.tokens.end());
      if (!grows) continue;
      // Longer lists, and positions for which there are no rotary tables yet.
      const auto large = world.segment(100 * turn);
      CHECK_EQ(world.sink->end(world.engine.submit(World::job({World::tokens(large, 100)}))).failed,
               "");
    }
    return all;
  };
  const auto still = tokens(false);
  CHECK(tokens(true) == still);
}
