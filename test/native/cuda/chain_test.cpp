// SPDX-License-Identifier: Apache-2.0
// The engine on the emulated device: a chain's tokens are the CPU's, and what a device can do to an
// engine (no memory at load, for the pool, in a run; lost) ends in typed errors, one job at a time
// where that is enough, with the pool as it was.
#include "check.h"
#include "emulation/cuda_library.h"
#include "engine/cuda_backend.h"
#include "engine/world.h"

using namespace baton;
using namespace baton::test;

namespace {

std::shared_ptr<CudaStream> open(const emulation::EmulatedCuda& cuda) {
  return std::make_shared<CudaStream>(cuda.api(), 0);
}

EngineOptions on(std::shared_ptr<CudaStream> device, KvType kv = KvType::kF16, bool int8 = false) {
  EngineOptions options;
  options.cuda = std::move(device);
  options.kvType = kv;
  options.int8Activations = int8;
  options.cacheBytes = 1 << 20;
  options.maxBatchRows = 32;
  return options;
}

double factOf(const std::vector<Error::Fact>& facts, const std::string& name) {
  for (const auto& [key, value] : facts) {
    if (key == name && std::holds_alternative<double>(value)) return std::get<double>(value);
  }
  return -1;
}

std::string reasonOf(const std::vector<Error::Fact>& facts) {
  for (const auto& [key, value] : facts) {
    if (key == "reason") return std::get<std::string>(value);
  }
  return "";
}

// A -> B over a shared input, B with a shift behind A's output; then B's fork goes on in a job
// beside a newcomer's. Tokens of all of them.
std::vector<std::vector<int32_t>> chain(const EngineOptions& options) {
  World world(options);
  const auto run = [&](Job job) { return world.sink->end(world.engine.submit(std::move(job))); };
  std::vector<std::vector<int32_t>> tokens;
  const auto shared = world.segment();
  Append input = World::tokens(shared, 37);
  input.close = true;
  run(World::job({std::move(input)}));
  const auto first = world.segment(37, {{shared, 37, 0}});
  const Told a = run(World::generation(World::tokens(first, 5, 11), World::greedy(9)));
  CHECK_EQ(a.failed, "");
  tokens.push_back(a.tokens);
  first->close();
  const int rows = first->rows();
  const auto second = world.segment(30 + rows, {{shared, 30, 0}, {first, rows, -7}});
  const Told b = run(World::generation(World::tokens(second, 3, 17), World::greedy(7)));
  CHECK_EQ(b.failed, "");
  tokens.push_back(b.tokens);
  second->close();
  const auto fork =
      world.segment(30 + rows + 5, {{shared, 30, 0}, {first, rows, -7}, {second, 5, 0}});
  const auto newcomer = world.segment();
  const uint64_t one =
      world.engine.submit(World::generation(World::tokens(fork, 2, 29), World::greedy(8)));
  const uint64_t other =
      world.engine.submit(World::generation(World::tokens(newcomer, 50, 3), World::greedy(8)));
  for (const uint64_t job : {one, other}) {
    const Told told = world.sink->end(job);
    CHECK_EQ(told.failed, "");
    tokens.push_back(told.tokens);
  }
  return tokens;
}

}  // namespace

// Whole chains of greedy tokens can only be equal where nothing but the order of sums differs, or
// little more: with int8 activations a CPU may attend in bfloat16. forward_test.cpp has the bounds
// of every other combination.
TEST("cuda chain: a chain's tokens are those of the CPU") {
  const struct {
    KvType kv;
    bool int8;
  } cases[] = {
      {KvType::kF32, false}, {KvType::kF16, false}, {KvType::kInt8, false}, {KvType::kF16, true}};
  for (const auto& [kv, int8] : cases) {
    const auto want = chain(on(nullptr, kv, int8));
    emulation::EmulatedCuda cuda;
    const auto got = chain(on(open(cuda), kv, int8));
    expect(got == want, __FILE__, __LINE__,
           std::string(kvTypeName(kv)) + (int8 ? " int8" : " float32") + ": other tokens");
    CHECK_EQ(cuda.device().usedBytes, 0u);
    CHECK(cuda.device().launches > 100);
  }
}

TEST("cuda chain: drafting and a content index change no token") {
  emulation::EmulatedCuda cuda;
  EngineOptions options = on(open(cuda));
  const auto plain = chain(options);
  options.drafting = true;
  options.indexBytes = options.cacheBytes / 2;
  options.cuda = open(cuda);
  CHECK(chain(options) == plain);
}

// Several jobs at once, each sampled by options of its own and with another number of alternatives;
// one is forced to begin with tokens that nobody drew.
std::vector<Told> sampled(const EngineOptions& options) {
  World world(options);
  std::vector<GenerateSpec> specs(5, World::greedy(12));
  specs[1].sampler.temperature = 0.9f;
  specs[1].sampler.topK = 40;
  specs[1].sampler.topP = 0.9f;
  specs[1].logprobs = 0;
  specs[2].sampler.temperature = 1.2f;
  specs[2].sampler.minP = 0.01f;
  specs[2].sampler.frequencyPenalty = 0.3f;
  specs[2].sampler.biasIds = {9, 10};
  specs[2].sampler.biases = {1.5f, -1.0f};
  specs[2].logprobs = 3;
  specs[3].sampler.temperature = 0.5f;
  specs[3].sampler.repetitionPenalty = 1.2f;
  specs[3].forced = {17, 23};
  specs[3].logprobs = 0;
  std::vector<std::shared_ptr<Segment>> segments;
  std::vector<uint64_t> jobs;
  world.sink->hold();
  for (size_t i = 0; i < specs.size(); ++i) {
    segments.push_back(world.segment());
    const int rows = 3 + static_cast<int>(i);
    jobs.push_back(
        world.engine.submit(World::generation(World::tokens(segments[i], rows), specs[i])));
  }
  world.sink->letGo();
  std::vector<Told> all;
  for (const uint64_t job : jobs) {
    all.push_back(world.sink->end(job));
    CHECK_EQ(all.back().failed, "");
  }
  return all;
}

TEST("cuda chain: sampled tokens and their figures are those of the CPU") {
  const std::vector<Told> want = sampled(on(nullptr, KvType::kF32));
  emulation::EmulatedCuda cuda;
  const std::vector<Told> got = sampled(on(open(cuda), KvType::kF32));
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    expect(got[i].tokens == want[i].tokens, __FILE__, __LINE__,
           "job " + std::to_string(i) + ": other tokens");
    const Logprobs &a = got[i].logprobs, &b = want[i].logprobs;
    CHECK(a.topIds == b.topIds);
    REQUIRE(a.chosen.size() == b.chosen.size());
    for (size_t t = 0; t < a.chosen.size(); ++t) CHECK_NEAR(a.chosen[t], b.chosen[t], 1e-4);
  }
}

TEST("cuda chain: of a row that nobody reads only its token leaves the device") {
  emulation::EmulatedCuda cuda;
  World world(on(open(cuda)));
  const auto segment = world.segment();
  const Told told = world.sink->end(
      world.engine.submit(World::generation(World::tokens(segment, 9), World::greedy(6))));
  CHECK_EQ(told.tokens.size(), 6u);
  CHECK_EQ(cuda.device().bytesToHost, 6 * sizeof(int32_t));
}

TEST("cuda chain: KV goes out and comes back, and is read as it was") {
  emulation::EmulatedCuda cuda;
  World world(on(open(cuda)));
  const auto run = [&](Job job) { return world.sink->end(world.engine.submit(std::move(job))); };
  const auto written = world.segment();
  Append rows = World::tokens(written, 21);
  rows.close = true;
  run(World::job({std::move(rows)}));
  std::vector<std::byte> bytes(kvBytes(world.engine.pool()->shape(), 21));
  readKv(*written, bytes.data());
  const auto restored =
      world.engine.restoreSegment({SegmentKind::kInput, 0, 21, "kept"}, bytes.data(), bytes.size());
  std::vector<std::vector<float>> logits;
  for (const auto& read : {written, restored}) {
    const auto reader = world.segment(21, {{read, 21, 0}});
    logits.push_back(run(World::job({World::tokens(reader, 4, 77)}, LogitsWanted::kAll)).logits);
  }
  CHECK(!logits[0].empty());
  CHECK(logits[0] == logits[1]);
}

TEST("cuda chain: no memory at load, or for the pool, says what is needed and free") {
  emulation::EmulatedCuda cuda;
  cuda.device().totalBytes = 100 << 10;
  const auto opened = [&](size_t cacheBytes) -> std::vector<Error::Fact> {
    try {
      EngineOptions options = on(open(cuda));
      options.cacheBytes = cacheBytes;
      Engine engine(tinyModel(), options, std::make_shared<Sink>());
    } catch (const Error& error) {
      CHECK_EQ(std::string(error.code()), std::string("OUT_OF_MEMORY"));
      const std::string text = error.what();
      CHECK(text.find(cacheBytes > (100 << 10) ? "a KV pool" : "the weights") != std::string::npos);
      return error.facts();
    }
    return {};
  };
  const auto pool = opened(1 << 20);
  CHECK(factOf(pool, "needed") > 1000 << 10);
  CHECK_EQ(factOf(pool, "free"), 100 << 10);
  const auto load = opened(64 << 10);
  CHECK(factOf(load, "needed") > factOf(load, "free"));
  CHECK(factOf(load, "free") > 0);
  CHECK_EQ(cuda.device().usedBytes, 0u);
}

TEST(
    "cuda chain: no memory in a run ends the youngest job, the others go on and so do later ones") {
  emulation::EmulatedCuda cuda;
  EngineOptions options = on(open(cuda));
  options.maxBatchRows = 256;
  World world(options);
  const auto run = [&](Job job) { return world.sink->end(world.engine.submit(std::move(job))); };
  const auto warm = world.segment();
  CHECK_EQ(run(World::generation(World::tokens(warm, 3), World::greedy(2))).failed, "");
  const size_t blocks = world.engine.pool()->stats().blocksUsed;
  // As much as a step of few rows has by now, and no more.
  cuda.device().totalBytes = cuda.device().usedBytes;
  world.sink->hold();  // so that both are in the queue
  const auto small = world.segment(), large = world.segment();
  const uint64_t one =
      world.engine.submit(World::generation(World::tokens(small, 2, 9), World::greedy(2)));
  const uint64_t other =
      world.engine.submit(World::generation(World::tokens(large, 200, 5), World::greedy(2)));
  world.sink->letGo();
  const Told failed = world.sink->end(other);
  CHECK_EQ(failed.failed, "OUT_OF_MEMORY");
  CHECK(factOf(failed.facts, "needed") > factOf(failed.facts, "free"));
  const Told done = world.sink->end(one);
  CHECK_EQ(done.failed, "");
  CHECK_EQ(done.tokens.size(), 2u);
  CHECK_EQ(large->rows(), 0);
  cuda.device().totalBytes = uint64_t{1} << 28;
  const auto again = world.segment();
  CHECK_EQ(run(World::generation(World::tokens(again, 200, 5), World::greedy(2))).failed, "");
  CHECK(world.engine.pool()->stats().blocksUsed > blocks);
}

TEST("cuda chain: a lost device fails every job from then on, and the process lives") {
  emulation::EmulatedCuda cuda;
  const auto device = open(cuda);
  {
    World world(on(device));
    const auto run = [&](Job job) { return world.sink->end(world.engine.submit(std::move(job))); };
    const auto before = world.segment();
    CHECK_EQ(run(World::generation(World::tokens(before, 3), World::greedy(2))).failed, "");
    cuda.device().lostAfter = cuda.device().launches + 30;  // in the middle of a forward
    for (int i = 0; i < 2; ++i) {
      const auto segment = world.segment();
      const Told told = run(World::generation(World::tokens(segment, 9), World::greedy(20)));
      CHECK_EQ(told.failed, "DEVICE_UNAVAILABLE");
      CHECK_EQ(reasonOf(told.facts), "device-lost");
      CHECK_EQ(segment->rows(), 0);
    }
    CHECK(device->lost());
    before->close();
    std::vector<std::byte> bytes(kvBytes(world.engine.pool()->shape(), before->rows()));
    CHECK_THROWS("DEVICE_UNAVAILABLE", readKv(*before, bytes.data()));
    CHECK_THROWS("DEVICE_UNAVAILABLE",
                 world.engine.restoreSegment({SegmentKind::kInput, 0, before->rows(), "kept"},
                                             bytes.data(), bytes.size()));
  }
  CHECK_THROWS("DEVICE_UNAVAILABLE", open(cuda));
}

TEST("cuda chain: a model whose heads no kernel takes is refused") {
  emulation::EmulatedCuda cuda;
  const auto model = tinyModel();
  const auto wide = std::make_shared<Model>();
  wide->config = model->config;
  wide->config.headDim = 512;
  const auto device = open(cuda);
  const KvShape shape{1, 1, 16, KvType::kF16};
  const Pool pool(shape, shape.blockBytes(), 0, device);
  ThreadPool threads(1);
  CHECK_THROWS("MODEL_UNSUPPORTED",
               CudaBackend(wide, device, threads, pool, {8, true, true, nullptr, 1}, nullptr));
}
