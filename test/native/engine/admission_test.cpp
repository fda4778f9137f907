// SPDX-License-Identifier: Apache-2.0
// Every refusal of a job or a segment, and that a refusal leaves nothing behind.
#include <cmath>
#include <limits>

#include "check.h"
#include "engine/world.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// After whatever was refused: the segment still takes a job, and the job ends well.
void expectUnharmed(World& world, const std::shared_ptr<Segment>& segment) {
  const int rows = segment->rows();
  const Told told = world.sink->end(world.engine.submit(World::job({World::tokens(segment, 2)})));
  CHECK_EQ(told.failed, "");
  CHECK_EQ(segment->rows(), rows + 2);
}

}  // namespace

TEST("admission: segments outside the context or of another model") {
  World world, other;
  const int limit = 4 * world.engine.model().config.contextLength;
  CHECK_THROWS("CONTEXT_LIMIT", world.segment(limit + 1));
  CHECK_THROWS("CONTEXT_LIMIT", world.segment(-limit - 1));
  const auto segment = world.segment();
  const auto foreign = other.segment();
  CHECK_THROWS("OPTION_INVALID", world.segment(0, {{foreign, 0, 0}}));
  CHECK_THROWS("OPTION_INVALID", world.segment(0, {{segment, -1, 0}}));
  CHECK_THROWS("OPTION_INVALID", world.segment(0, {{segment, 0, limit + 1}}));
  CHECK_THROWS("OPTION_INVALID", world.segment(0, {{segment, 0, -limit - 1}}));
  CHECK_THROWS("OPTION_INVALID", world.engine.submit(World::job({World::tokens(foreign, 1)})));
  expectUnharmed(world, segment);
  expectUnharmed(other, foreign);
}

TEST("admission: open segments that read each other too deep") {
  World world;
  auto segment = world.segment();
  int depth = 1;
  for (; depth < 1024; ++depth) segment = world.segment(0, {{segment, 0, 0}});
  CHECK_THROWS("OPTION_INVALID", world.segment(0, {{segment, 0, 0}}));
  segment->close();
  CHECK_EQ(world.segment(0, {{segment, 0, 0}})->openDepth(), 1);
}

TEST("admission: appends that are empty, of another width or of unknown tokens") {
  World world;
  const auto segment = world.segment();
  const int vocab = world.engine.model().config.vocab;
  const auto submit = [&](std::vector<Append> appends) {
    world.engine.submit(World::job(std::move(appends)));
  };
  CHECK_THROWS("OPTION_INVALID", submit({}));
  CHECK_THROWS("OPTION_INVALID", submit({World::tokens(segment, 0)}));
  CHECK_THROWS("OPTION_INVALID", submit({World::tokens(segment, 2), World::tokens(segment, 0)}));
  for (const int32_t token : {-1, vocab, std::numeric_limits<int32_t>::min()}) {
    Append append = World::tokens(segment, 3);
    append.tokens[1] = token;
    CHECK_THROWS("OPTION_INVALID", submit({append}));
  }
  for (const size_t numbers : {size_t{0}, size_t{127}, size_t{129}}) {
    Append soft;
    soft.segment = segment;
    soft.count = 2;
    soft.embeddings.assign(numbers, 0.5f);  // not 2 x 64
    CHECK_THROWS("OPTION_INVALID", submit({soft}));
  }
  expectUnharmed(world, segment);
}

TEST("admission: options of generation") {
  World world;
  const auto segment = world.segment();
  const auto refused = [&](const std::function<void(GenerateSpec&)>& spoil) {
    GenerateSpec spec = World::greedy(4);
    spoil(spec);
    CHECK_THROWS("OPTION_INVALID",
                 world.engine.submit(World::generation(World::tokens(segment, 1), spec)));
  };
  for (const float bad : {-0.1f, kNan, kInf})
    refused([bad](GenerateSpec& s) { s.sampler.temperature = bad; });
  for (const float bad : {0.0f, -1.0f, 1.1f, kNan})
    refused([bad](GenerateSpec& s) { s.sampler.topP = bad; });
  for (const float bad : {-0.1f, 1.1f, kNan})
    refused([bad](GenerateSpec& s) { s.sampler.minP = bad; });
  for (const float bad : {0.0f, -1.0f, kInf, kNan}) {
    refused([bad](GenerateSpec& s) { s.sampler.repetitionPenalty = bad; });
  }
  for (const float bad : {kInf, -kInf, kNan}) {
    refused([bad](GenerateSpec& s) { s.sampler.presencePenalty = bad; });
    refused([bad](GenerateSpec& s) { s.sampler.frequencyPenalty = bad; });
  }
  refused([](GenerateSpec& s) { s.sampler.topK = -1; });
  for (const int bad : {-2, 21}) refused([bad](GenerateSpec& s) { s.logprobs = bad; });
  for (const int bad : {0, -5, 513}) refused([bad](GenerateSpec& s) { s.maxTokens = bad; });
  for (const int32_t bad : {-1, world.engine.model().config.vocab})
    refused([bad](GenerateSpec& s) { s.forced = {3, bad}; });
  refused([](GenerateSpec& s) { s.stops = {"x", ""}; });
  refused([](GenerateSpec& s) { s.stops = {"x"}; });  // no vocabulary was set
  // A generation needs a row of its own or of an append before it.
  CHECK_THROWS("OPTION_INVALID",
               world.engine.submit(World::generation(World::tokens(segment, 0), World::greedy(4))));
  expectUnharmed(world, segment);
}

TEST("admission: a logit bias on unknown tokens, of no number, twice, or on all with a ban") {
  World world;
  const auto segment = world.segment();
  const int vocab = world.engine.model().config.vocab;
  const auto submit = [&](std::vector<int32_t> ids, std::vector<float> biases) {
    GenerateSpec spec = World::greedy(1);
    spec.sampler.biasIds = std::move(ids);
    spec.sampler.biases = std::move(biases);
    return world.engine.submit(World::generation(World::tokens(segment, 1), spec));
  };
  for (const int32_t id : {-1, vocab, std::numeric_limits<int32_t>::max()})
    CHECK_THROWS("OPTION_INVALID", submit({3, id}, {1, 1}));
  for (const float bad : {kNan, kInf, 2e30f, -2e30f})
    CHECK_THROWS("OPTION_INVALID", submit({3, 4}, {1, bad}));
  CHECK_THROWS("OPTION_INVALID", submit({3, 4}, {1}));
  CHECK_THROWS("OPTION_INVALID", submit({3, 4, 3}, {1, 2, 1}));
  std::vector<int32_t> all(static_cast<size_t>(vocab));
  for (int32_t id = 0; id < vocab; ++id) all[static_cast<size_t>(id)] = id;
  CHECK_THROWS("OPTION_INVALID", submit(all, std::vector<float>(all.size(), -kInf)));
  expectUnharmed(world, segment);
  // All but one: that one is all that comes.
  std::vector<float> biases(all.size(), -kInf);
  biases[77] = -1e30f;
  CHECK(world.sink->end(submit(all, biases)).tokens == std::vector<int32_t>{77});
  expectUnharmed(world, segment);
}

TEST("admission: reads of rows that are not there yet") {
  World world;
  const auto read = world.segment();
  const auto reader = world.segment(3, {{read, 3, 0}});
  const auto submit = [&](std::vector<Append> appends) {
    return world.engine.submit(World::job(std::move(appends)));
  };
  CHECK_THROWS("OPTION_INVALID", submit({World::tokens(reader, 1)}));
  CHECK_THROWS("OPTION_INVALID", submit({World::tokens(read, 2), World::tokens(reader, 1)}));
  CHECK_THROWS("OPTION_INVALID", submit({World::tokens(reader, 1), World::tokens(read, 3)}));
  const Told told = world.sink->end(
      submit({World::tokens(read, 2), World::tokens(read, 1), World::tokens(reader, 1)}));
  CHECK_EQ(told.failed, "");
  CHECK_EQ(told.done.stats.rowsComputed, 4);
  expectUnharmed(world, reader);
}

TEST("admission: positions beyond the context") {
  World world;
  const auto at = world.segment(500);
  const auto submit = [&](int rows) {
    return world.engine.submit(World::job({World::tokens(at, rows)}));
  };
  CHECK_THROWS("CONTEXT_LIMIT", submit(13));
  CHECK_THROWS("CONTEXT_LIMIT",
               world.engine.submit(World::job({World::tokens(at, 6), World::tokens(at, 7)})));
  CHECK_THROWS("CONTEXT_LIMIT",
               world.engine.submit(World::generation(World::tokens(at, 8), World::greedy(5))));
  CHECK_EQ(world.sink->end(submit(12)).failed, "");
  CHECK_THROWS("CONTEXT_LIMIT", submit(1));
  expectUnharmed(world, world.segment());
}

TEST("admission: a segment that is closed, busy, or still written by another job") {
  World world;
  const auto busy = world.segment();
  const auto free = world.segment();
  const auto reader = world.segment(1, {{busy, 1, 0}});
  world.sink->hold();
  const uint64_t writing =
      world.engine.submit(World::generation(World::tokens(busy, 4), World::greedy(50)));
  world.sink->wait(writing, [](const Told& told) { return told.progress == 4; });
  CHECK_THROWS("OPTION_INVALID", world.engine.submit(World::job({World::tokens(busy, 1)})));
  CHECK_THROWS("OPTION_INVALID", world.engine.submit(World::job({World::tokens(reader, 1)})));
  // Refused as a whole: `free` must not stay claimed.
  CHECK_THROWS("OPTION_INVALID",
               world.engine.submit(World::job({World::tokens(free, 1), World::tokens(busy, 1)})));
  world.sink->letGo();
  CHECK_EQ(world.sink->end(writing).failed, "");
  expectUnharmed(world, free);
  expectUnharmed(world, busy);
  expectUnharmed(world, reader);
  free->close();
  CHECK_THROWS("OPTION_INVALID", world.engine.submit(World::job({World::tokens(free, 1)})));
}

TEST("admission: an engine that is closed") {
  World world;
  const auto segment = world.segment();
  world.engine.close();
  CHECK_THROWS("CLOSED", world.engine.submit(World::job({World::tokens(segment, 1)})));
  world.engine.close();
  CHECK(segment->beginAppend());  // the refusal claimed nothing
}
