// SPDX-License-Identifier: Apache-2.0
// Jobs in flight: each ends once, and what happens to one leaves the others' results as they are.
#include <algorithm>
#include <thread>

#include "check.h"
#include "engine/world.h"

using namespace baton;
using namespace baton::test;

namespace {

std::vector<int32_t> greedyAlone(int prompt, int32_t first, int maxTokens) {
  World world;
  const uint64_t job = world.engine.submit(
      World::generation(World::tokens(world.segment(), prompt, first), World::greedy(maxTokens)));
  return world.sink->end(job).tokens;
}

double factOf(const Told& told, const std::string& name) {
  for (const auto& [key, value] : told.facts) {
    if (key == name) return std::get<double>(value);
  }
  return -1;
}

}  // namespace

TEST(
    "engine: an append is told in progress, logits and done, and its blocks are free with its "
    "end") {
  World world;
  auto segment = world.segment();
  const uint64_t job =
      world.engine.submit(World::job({World::tokens(segment, 20)}, LogitsWanted::kAll));
  const Told told = world.sink->end(job);
  CHECK(told.done.reason == DoneReason::kAppended);
  CHECK_EQ(told.done.pending, -1);
  CHECK_EQ(told.progress, 20);
  CHECK_EQ(told.logits.size(), 20u * 512u);
  CHECK_EQ(told.done.stats.rowsComputed, 20);
  CHECK_EQ(segment->rows(), 20);
  // Held back at its last event: nothing of the job may hold the segment any more.
  world.sink->hold();
  const uint64_t last = world.engine.submit(World::job({World::tokens(segment, 1)}));
  const std::weak_ptr<Segment> watched = segment;
  world.sink->wait(last, [](const Told& one) { return one.progress == 1; });
  segment.reset();
  CHECK(!watched.expired());
  world.sink->letGo();
  world.sink->end(last);
  CHECK(watched.expired());
  CHECK_EQ(world.engine.pool()->stats().blocksUsed, 0u);
}

TEST("engine: closers, length and stops end an output, with the rows that the rules name") {
  World world;
  const std::vector<int32_t> free = greedyAlone(6, 5, 12);
  REQUIRE(free.size() == 12);
  const auto generate = [&](GenerateSpec spec) {
    const auto segment = world.segment();
    const Told told = world.sink->end(
        world.engine.submit(World::generation(World::tokens(segment, 6), std::move(spec))));
    return std::pair(told, segment->rows());
  };
  const auto [whole, wholeRows] = generate(World::greedy(12));
  CHECK(whole.tokens == free);
  CHECK(whole.done.reason == DoneReason::kLength);
  CHECK_EQ(whole.done.pending, free.back());
  CHECK_EQ(wholeRows, 6 + 11);

  size_t at = 1;  // the first token that did not come before
  while (std::find(free.begin(), free.begin() + static_cast<std::ptrdiff_t>(at), free[at]) !=
         free.begin() + static_cast<std::ptrdiff_t>(at)) {
    ++at;
    REQUIRE(at < free.size());
  }
  GenerateSpec closing = World::greedy(12);
  closing.closers = {free[at]};
  const auto [closed, closedRows] = generate(closing);
  CHECK(closed.done.reason == DoneReason::kClosed);
  CHECK_EQ(closed.done.pending, -1);
  CHECK(closed.tokens ==
        std::vector<int32_t>(free.begin(), free.begin() + static_cast<std::ptrdiff_t>(at)));
  CHECK_EQ(closedRows, 6 + static_cast<int>(at));

  auto vocabulary = std::make_shared<Vocabulary>();  // token t is written "<t>"
  vocabulary->offsets.push_back(0);
  for (int token = 0; token < 512; ++token) {
    vocabulary->bytes += '<' + std::to_string(token) + '>';
    vocabulary->offsets.push_back(static_cast<uint32_t>(vocabulary->bytes.size()));
  }
  world.engine.setVocabulary(vocabulary);
  GenerateSpec stopping = World::greedy(12);
  stopping.stops = {std::to_string(free[at]) + ">"};  // begins one byte into that token
  const auto [stopped, stoppedRows] = generate(stopping);
  CHECK(stopped.done.reason == DoneReason::kStop);
  CHECK_EQ(stopped.done.tail, "<");
  CHECK(stopped.tokens == closed.tokens);
  CHECK_EQ(stoppedRows, 6 + static_cast<int>(at));
  CHECK_EQ(stopped.done.stats.tokens, static_cast<int64_t>(at));
}

// Greedy and sampled, with penalties, stop strings that begin before and end behind, and figures.
TEST("engine: an output goes on from any of its tokens as if it had never stopped") {
  World world;
  auto vocabulary = std::make_shared<Vocabulary>();
  vocabulary->offsets = {0};
  for (int token = 0; token < 512; ++token) {
    vocabulary->bytes += static_cast<char>('a' + token % 3);
    vocabulary->offsets.push_back(static_cast<uint32_t>(vocabulary->bytes.size()));
  }
  world.engine.setVocabulary(vocabulary);
  for (const float temperature : {0.0f, 0.9f}) {
    for (const char* stop : {"", "abcabcab", "ccb"}) {
      GenerateSpec spec = World::greedy(24);
      spec.sampler.temperature = temperature;
      spec.sampler.seed = 7;
      spec.sampler.frequencyPenalty = 0.4f;
      spec.logprobs = 0;
      if (*stop != '\0') spec.stops = {stop};
      const auto whole = world.segment();
      const Told all =
          world.sink->end(world.engine.submit(World::generation(World::tokens(whole, 5), spec)));
      for (size_t count = 1; count < all.tokens.size(); count += 3) {
        const auto part = world.segment();
        Append append = World::tokens(part, 5);
        append.tokens.insert(append.tokens.end(), all.tokens.begin(),
                             all.tokens.begin() + int(count));
        append.count = static_cast<int>(append.tokens.size());
        GenerateSpec rest = spec;
        rest.prior.assign(all.tokens.begin(), all.tokens.begin() + int(count));
        const Told told = world.sink->end(world.engine.submit(World::generation(append, rest)));
        CHECK(told.tokens ==
              std::vector<int32_t>(all.tokens.begin() + int(count), all.tokens.end()));
        CHECK(told.done.reason == all.done.reason);
        CHECK_EQ(told.done.tail, all.done.tail);
        CHECK_EQ(told.done.stats.tokens, all.done.stats.tokens);
        CHECK_EQ(part->rows(), whole->rows());
      }
    }
  }
  GenerateSpec spec = World::greedy(4);
  spec.prior = {1, 2, 3, 4};
  CHECK_THROWS(code::kOptionInvalid,
               world.engine.submit(World::generation(World::tokens(world.segment(), 5), spec)));
  spec.prior = {1, 2, 512};
  CHECK_THROWS(code::kOptionInvalid,
               world.engine.submit(World::generation(World::tokens(world.segment(), 5), spec)));
  spec.prior = {1, 2, 3};
  CHECK_THROWS(code::kOptionInvalid,
               world.engine.submit(World::generation(World::tokens(world.segment(), 2), spec)));
}

TEST("engine: forced tokens are rows like chosen ones, and what follows them is chosen") {
  World world;
  const std::vector<int32_t> forced = {400, 7, 7, 123};
  GenerateSpec spec = World::greedy(7);
  spec.forced = forced;
  const auto written = world.segment();
  const Told told =
      world.sink->end(world.engine.submit(World::generation(World::tokens(written, 5), spec)));
  REQUIRE(told.tokens.size() == 7);
  CHECK(std::equal(forced.begin(), forced.end(), told.tokens.begin()));
  CHECK_EQ(told.done.stats.turns, 7);
  CHECK_EQ(written->rows(), 5 + 6);

  // The same tokens as given rows.
  const auto given = world.segment();
  Append append = World::tokens(given, 5);
  append.tokens.insert(append.tokens.end(), forced.begin(), forced.end());
  append.count = static_cast<int>(append.tokens.size());
  const Told chosen =
      world.sink->end(world.engine.submit(World::generation(append, World::greedy(3))));
  CHECK(std::equal(chosen.tokens.begin(), chosen.tokens.end(), told.tokens.begin() + 4));

  GenerateSpec closed = World::greedy(7);
  closed.closers = {123};
  closed.forced = forced;
  const Told ended = world.sink->end(
      world.engine.submit(World::generation(World::tokens(world.segment(), 5), closed)));
  CHECK(ended.tokens == (std::vector<int32_t>{400, 7, 7}));
  CHECK(ended.done.reason == DoneReason::kClosed);
}

TEST("engine: an output without an opener starts from the row before it") {
  World world;
  const auto input = world.segment(), with = world.segment(),
             output = world.segment(7, {{input, 7, 0}});
  Job job = World::job({World::tokens(input, 7), World::tokens(output, 0)});
  job.generate = World::greedy(5);
  const Told told = world.sink->end(world.engine.submit(std::move(job)));
  CHECK_EQ(told.failed, "");
  CHECK_EQ(told.tokens.size(), 5u);
  CHECK_EQ(output->rows(), 4);
  Job plain = World::generation(World::tokens(with, 7), World::greedy(1));
  CHECK_EQ(world.sink->end(world.engine.submit(std::move(plain))).tokens[0], told.tokens[0]);
}

TEST("engine: more jobs than rows of a batch all end as they do alone") {
  World world({.threads = 2, .maxBatchRows = 3});
  std::vector<uint64_t> jobs;
  for (int i = 0; i < 8; ++i) {
    jobs.push_back(world.engine.submit(
        World::generation(World::tokens(world.segment(), 3 + 5 * i, 7 * i), World::greedy(6 + i))));
  }
  for (int i = 0; i < 8; ++i) {
    const Told told = world.sink->end(jobs[static_cast<size_t>(i)]);
    CHECK_EQ(told.failed, "");
    CHECK(told.tokens == greedyAlone(3 + 5 * i, 7 * i, 6 + i));
    CHECK_EQ(told.ends, 1);
    CHECK_EQ(told.afterEnd, 0);
  }
}

TEST("engine: a cancelled job ends with ABORTED, wherever it is, and the others go on") {
  World world({.maxBatchRows = 32});
  world.engine.cancel(0);
  world.engine.cancel(12345);
  const auto segments =
      std::vector{world.segment(), world.segment(), world.segment(), world.segment()};
  world.sink->hold();
  const uint64_t decoding =
      world.engine.submit(World::generation(World::tokens(segments[0], 4), World::greedy(400)));
  world.sink->wait(decoding, [](const Told& told) { return told.progress == 4; });
  const uint64_t staying =
      world.engine.submit(World::generation(World::tokens(segments[1], 9, 3), World::greedy(30)));
  const uint64_t queued = world.engine.submit(World::job({World::tokens(segments[2], 100)}));
  world.engine.cancel(queued);
  world.engine.cancel(decoding);
  world.sink->letGo();
  for (const uint64_t job : {decoding, queued}) {
    const Told told = world.sink->end(job);
    CHECK_EQ(told.failed, "ABORTED");
  }
  const Told told = world.sink->end(staying);
  CHECK_EQ(told.failed, "");
  CHECK(told.tokens == greedyAlone(9, 3, 30));
  CHECK_EQ(segments[2]->rows(), 0);
  // A later job is behind whatever the engine still had to put away.
  world.sink->end(world.engine.submit(World::job({World::tokens(segments[3], 1)})));
  world.engine.cancel(staying);
  for (const uint64_t job : {decoding, queued, staying}) {
    const Told later = world.sink->end(job);
    CHECK_EQ(later.ends, 1);
    CHECK_EQ(later.afterEnd, 0);
  }
  CHECK(segments[0]->beginAppend());
  CHECK(segments[2]->beginAppend());
}

TEST("engine: a job that the pool cannot hold fails with CACHE_BUDGET, the others are unharmed") {
  const std::vector<int32_t> alone = greedyAlone(20, 11, 40);
  const size_t block = World().engine.pool()->shape().blockBytes();
  World world({.cacheBytes = 6 * block});
  const auto small = world.segment();
  auto large = world.segment();
  world.sink->hold();
  const uint64_t first =
      world.engine.submit(World::generation(World::tokens(small, 20, 11), World::greedy(40)));
  world.sink->wait(first, [](const Told& told) { return told.progress == 20; });
  const uint64_t second = world.engine.submit(World::job({World::tokens(large, 100)}));
  world.sink->letGo();
  const Told failed = world.sink->end(second);
  CHECK_EQ(failed.failed, "CACHE_BUDGET");
  CHECK_EQ(factOf(failed, "needed"), double(7 * block));
  CHECK(factOf(failed, "free") >= double(block) && factOf(failed, "free") <= double(4 * block));
  CHECK_EQ(large->rows(), 0);
  const Told told = world.sink->end(first);
  CHECK_EQ(told.failed, "");
  CHECK(told.tokens == alone);
  CHECK_EQ(small->rows(), 59);
  const Told smaller = world.sink->end(world.engine.submit(World::job({World::tokens(large, 30)})));
  CHECK_EQ(smaller.failed, "");
  large.reset();
  CHECK_EQ(world.engine.pool()->stats().blocksUsed, 4u);
}

TEST("engine: a job that runs out of room while it decodes fails alone") {
  const size_t block = World().engine.pool()->shape().blockBytes();
  World world({.cacheBytes = 4 * block});
  const auto one = world.segment(), two = world.segment();
  world.sink->hold();  // so that both start together
  const uint64_t first =
      world.engine.submit(World::generation(World::tokens(one, 16), World::greedy(200)));
  world.sink->wait(first, [](const Told& told) { return told.progress == 16; });
  const uint64_t second =
      world.engine.submit(World::generation(World::tokens(two, 10, 3), World::greedy(20)));
  world.sink->letGo();
  CHECK_EQ(world.sink->end(first).failed, "CACHE_BUDGET");
  const Told told = world.sink->end(second);
  CHECK_EQ(told.failed, "");
  CHECK(told.tokens == greedyAlone(10, 3, 20));
}

TEST("engine: closing fails what is in flight or queued with CLOSED, once each") {
  World world;
  std::vector<std::shared_ptr<Segment>> segments;
  std::vector<uint64_t> jobs;
  world.sink->hold();
  for (int i = 0; i < 5; ++i) {
    segments.push_back(world.segment());
    jobs.push_back(world.engine.submit(
        World::generation(World::tokens(segments.back(), 3), World::greedy(400))));
    if (i == 0) world.sink->wait(jobs[0], [](const Told& told) { return told.progress == 3; });
  }
  std::thread closer([&world] { world.engine.close(); });
  std::thread another([&world] { world.engine.close(); });
  world.sink->letGo();
  closer.join();
  another.join();
  for (const uint64_t job : jobs) {
    const Told told = world.sink->end(job);
    CHECK_EQ(told.failed, "CLOSED");
    CHECK_EQ(told.ends, 1);
    CHECK_EQ(told.afterEnd, 0);
  }
  segments.clear();
  CHECK_EQ(world.engine.pool()->stats().blocksUsed, 0u);
  CHECK_EQ(world.engine.pool()->stats().segments, 0u);
}

TEST("engine: a segment outlives its engine") {
  std::shared_ptr<Segment> segment;
  {
    World world;
    segment = world.segment();
    world.sink->end(world.engine.submit(World::job({World::tokens(segment, 40)})));
  }
  CHECK_EQ(segment->rows(), 40);
  CHECK_EQ(segment->identity(40).size(), 64u);
}
