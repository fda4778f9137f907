// SPDX-License-Identifier: Apache-2.0
// What guesses may not do: take rows or blocks that somebody else wants, outlive an abort, or be
// made for who does not want them.
#include <map>
#include <utility>
#include <vector>

#include "check.h"
#include "engine/cache_world.h"

using namespace baton;
using namespace baton::test;

namespace {

using Tokens = std::vector<int32_t>;

constexpr int kLoop = 7;  // tokens of the text that outputs here repeat

Tokens loop(int count) {
  Tokens text;
  for (int i = 0; i < count; ++i) text.push_back(40 + 11 * (i % kLoop));
  return text;
}

Append looping(std::shared_ptr<Segment> segment, int rows) {
  Append append;
  append.segment = std::move(segment);
  append.count = rows;
  append.tokens = loop(rows);
  return append;
}

// An output that goes on as its segment began: every guess holds.
GenerateSpec quoting(int rows, int tokens) {
  GenerateSpec spec = World::greedy(tokens);
  const Tokens whole = loop(rows + tokens);
  spec.forced.assign(whole.begin() + rows, whole.end());
  return spec;
}

EngineOptions options(bool drafting, size_t cacheBytes = 4 << 20, size_t indexBytes = 0) {
  EngineOptions made;
  made.drafting = drafting;
  made.draftRowCost = 0;
  made.cacheBytes = cacheBytes;
  made.indexBytes = indexBytes;
  return made;
}

}  // namespace

TEST("drafting: a text that repeats itself takes a fraction of the turns, and counts add up") {
  World world(options(true));
  const auto segment = world.segment();
  const Told told = world.sink->end(
      world.engine.submit(World::generation(looping(segment, 20), quoting(20, 64))));
  CHECK_EQ(told.failed, "");
  CHECK(told.tokens == quoting(20, 64).forced);
  CHECK_EQ(segment->rows(), 20 + 63);
  const JobStats& stats = told.done.stats;
  CHECK_EQ(stats.rowsComputed, 20 + 63);
  CHECK_EQ(stats.draftedTokens, stats.acceptedTokens);
  // The prefill gives the first token, every other turn one and what holds.
  CHECK_EQ(stats.turns, 64 - stats.acceptedTokens);
  CHECK_EQ(stats.turns, 1 + (63 + OutputDraft::kMostGuesses) / (1 + OutputDraft::kMostGuesses));
  const EngineStats engine = world.engine.stats();
  CHECK_EQ(engine.decodeRows, 63);
  CHECK_EQ(engine.prefillRows, 20);
  CHECK_EQ(engine.mostDecodeRows, 1);  // jobs
  CHECK_EQ(engine.acceptedTokens, stats.acceptedTokens);
}

TEST("drafting: the engine's option holds for jobs that do not say") {
  for (const bool engineDrafts : {false, true}) {
    World world(options(engineDrafts));
    for (const std::optional<bool> job : {std::optional<bool>(), {false}, {true}}) {
      GenerateSpec spec = quoting(20, 40);
      spec.drafting = job;
      const Told told = world.sink->end(
          world.engine.submit(World::generation(looping(world.segment(), 20), spec)));
      CHECK_EQ(told.done.stats.draftedTokens > 0, job.value_or(engineDrafts));
      CHECK(told.tokens == spec.forced);
    }
  }
  EngineOptions serial = options(true);
  serial.draftRowCost = 1;  // a row costs a forward: no guess pays
  World world(serial);
  const Told told = world.sink->end(
      world.engine.submit(World::generation(looping(world.segment(), 20), quoting(20, 40))));
  CHECK_EQ(told.done.stats.draftedTokens, 0);
  CHECK_EQ(told.done.stats.turns, 40);
}

TEST("drafting: a prefill gets the rows that it gets without") {
  std::map<bool, Told> prefills, outputs;
  for (const bool drafting : {false, true}) {
    EngineOptions narrow = options(drafting);
    narrow.maxBatchRows = 16;
    World world(narrow);
    world.sink->hold();
    const uint64_t output =
        world.engine.submit(World::generation(looping(world.segment(), 8), quoting(8, 200)));
    world.sink->wait(output, [](const Told& told) { return told.progress == 8; });
    const uint64_t prefill = world.engine.submit(World::job({World::tokens(world.segment(), 400)}));
    world.sink->letGo();
    prefills[drafting] = world.sink->end(prefill);
    outputs[drafting] = world.sink->end(output);
  }
  CHECK_EQ(prefills[true].done.stats.turns, prefills[false].done.stats.turns);
  CHECK_EQ(prefills[true].done.stats.turnsSkipped, 0);
  CHECK(outputs[true].tokens == outputs[false].tokens);
  CHECK_EQ(outputs[false].done.stats.turns, 200);
  // 400 rows at 15 a turn leave one row in none but the last; what is left then is all guesses.
  CHECK(outputs[true].done.stats.turns < 60);
  CHECK(outputs[true].done.stats.turns > 26);
}

TEST("drafting: outputs that fill the pool to its last block end as without") {
  for (const bool drafting : {false, true}) {
    World world(options(drafting, smallPool()));
    std::vector<uint64_t> jobs;
    constexpr int kRows = kBlocks / 2 * kBlockRows;  // of each of two
    for (int i = 0; i < 2; ++i) {
      jobs.push_back(world.engine.submit(
          World::generation(looping(world.segment(), 10), quoting(10, kRows - 10 + 1))));
    }
    for (const uint64_t job : jobs) {
      const Told told = world.sink->end(job);
      CHECK_EQ(told.failed, "");
      CHECK_EQ(told.tokens.size(), static_cast<size_t>(kRows - 9));
      CHECK_EQ(told.done.stats.draftedTokens > 20, drafting);
    }
  }
}

TEST("drafting: an output for which the pool is too small fails where it fails without") {
  std::map<bool, Told> ends;
  for (const bool drafting : {false, true}) {
    World world(options(drafting, smallPool()));
    const auto segment = world.segment();
    ends[drafting] = world.sink->end(
        world.engine.submit(World::generation(looping(segment, 10), quoting(10, 400))));
    CHECK_EQ(ends[drafting].failed, "CACHE_BUDGET");
    CHECK_EQ(segment->rows(), 0);
    CHECK_EQ(world.engine.pool()->stats().blocksUsed, 0u);
  }
  CHECK(ends[true].tokens == ends[false].tokens);
  CHECK_EQ(ends[true].tokens.size(), static_cast<size_t>(kBlocks * kBlockRows - 10 + 1));
}

TEST("drafting: no guess drives out content that is kept") {
  constexpr int kKept = kBlocks - 3;
  for (const bool drafting : {false, true}) {
    World world(options(drafting, smallPool(), smallPool()));
    const auto written = [&world] {
      Append append = World::tokens(world.segment(), kKept * kBlockRows);
      append.close = true;
      return world.sink->end(world.engine.submit(World::job({std::move(append)}))).done.stats;
    };
    CHECK_EQ(written().rowsFound, 0);
    // It ends in the last row of the last free block, when guesses would go on behind it.
    GenerateSpec spec = quoting(10, 200);
    spec.forced[3 * kBlockRows - 10] = 300;
    spec.closers = {300};
    const auto segment = world.segment();
    const Told told =
        world.sink->end(world.engine.submit(World::generation(looping(segment, 10), spec)));
    CHECK(told.done.reason == DoneReason::kClosed);
    CHECK_EQ(told.done.stats.acceptedTokens > 20, drafting);
    CHECK_EQ(segment->rows(), 3 * kBlockRows);
    CHECK_EQ(segment->blockCount(), 3u);
    CHECK_EQ(written().rowsFound, kKept * kBlockRows);
  }
}

TEST("drafting: an abort in the middle of an output leaves nothing of it") {
  World world(options(true));
  for (const size_t after : {1u, 2u, 9u, 30u}) {
    const auto segment = world.segment();
    CHECK_EQ(world.sink->end(world.engine.submit(World::job({looping(segment, 20)}))).failed, "");
    const std::string before = segment->identity(20);
    world.sink->holdWhen([after](const std::map<uint64_t, Told>& told) {
      return told.rbegin()->second.tokens.size() >= after && told.rbegin()->second.ends == 0;
    });
    Append more = looping(segment, 1);
    more.tokens = {loop(21).back()};
    const uint64_t job = world.engine.submit(World::generation(more, quoting(21, 200)));
    world.sink->waitHeld();
    world.engine.cancel(job);
    world.sink->letGo();
    const Told told = world.sink->end(job);
    CHECK_EQ(told.failed, "ABORTED");
    CHECK(told.tokens.size() < 200);
    CHECK_EQ(segment->rows(), 20);
    CHECK_EQ(segment->blockCount(), 2u);
    CHECK_EQ(segment->identity(20), before);
  }
}
