// SPDX-License-Identifier: Apache-2.0
// The law of schedule.cpp, in turns and rows. Jobs are submitted while the sink holds the engine
// thread at an event, so that what they share is the same in every run of the test.
#include <algorithm>
#include <map>
#include <vector>

#include "check.h"
#include "engine/world.h"

using namespace baton;
using namespace baton::test;

namespace {

Told alone(int prompt, int32_t first, GenerateSpec spec) {
  World world;
  return world.sink->end(world.engine.submit(
      World::generation(World::tokens(world.segment(), prompt, first), std::move(spec))));
}

// Keeps the engine thread at the end of a one-row job until the sink lets go.
void holdEngine(World& world) {
  world.sink->hold();
  const uint64_t job = world.engine.submit(World::job({World::tokens(world.segment(), 1)}));
  world.sink->wait(job, [](const Told& told) { return told.progress == 1; });
}

// Jobs that generate from one row each, held when all of them do.
std::vector<uint64_t> houseOf(World& world, int jobs, int maxTokens) {
  std::vector<uint64_t> ids;
  holdEngine(world);
  for (int i = 0; i < jobs; ++i) {
    ids.push_back(world.engine.submit(
        World::generation(World::tokens(world.segment(), 1, i), World::greedy(maxTokens))));
  }
  world.sink->holdWhen([ids](const std::map<uint64_t, Told>& told) {
    return std::all_of(ids.begin(), ids.end(), [&told](uint64_t id) {
      const auto found = told.find(id);
      return found != told.end() && !found->second.tokens.empty();
    });
  });
  world.sink->letGo();
  world.sink->waitHeld();
  return ids;
}

}  // namespace

TEST("schedule: 16 jobs with different prompts decode in one batch, each as it does alone") {
  constexpr int kJobs = 16, kTokens = 24;
  World world({.threads = 2, .cacheBytes = 16 << 20});
  holdEngine(world);
  const auto spec = [](int i) {
    GenerateSpec one = World::greedy(kTokens);
    one.sampler.temperature = i % 2 == 0 ? 0.0f : 0.9f;
    one.sampler.presencePenalty = i % 4 == 3 ? 0.5f : 0.0f;
    one.sampler.seed = static_cast<uint64_t>(i);
    one.logprobs = i % 3;
    return one;
  };
  std::vector<uint64_t> jobs;
  for (int i = 0; i < kJobs; ++i) {
    jobs.push_back(world.engine.submit(
        World::generation(World::tokens(world.segment(), 4 + i, 31 * i), spec(i))));
  }
  const int64_t before = world.engine.stats().turns;
  CHECK_EQ(world.engine.stats().jobs, kJobs + 1);
  world.sink->letGo();
  for (int i = 0; i < kJobs; ++i) {
    const Told told = world.sink->end(jobs[static_cast<size_t>(i)]);
    const Told lone = alone(4 + i, 31 * i, spec(i));
    CHECK_EQ(told.failed, "");
    CHECK(told.tokens == lone.tokens);
    CHECK(told.logprobs.chosen == lone.logprobs.chosen);
    CHECK(told.logprobs.topIds == lone.logprobs.topIds);
    CHECK(told.logprobs.topLogprobs == lone.logprobs.topLogprobs);
    CHECK_EQ(told.logprobs.chosen.size(), static_cast<size_t>(kTokens));
    CHECK_EQ(told.logprobs.topIds.size(), static_cast<size_t>(kTokens * (i % 3)));
    CHECK_EQ(told.done.stats.turns, kTokens);  // the prefill gives the first token
    CHECK_EQ(told.done.stats.turnsSkipped, 0);
  }
  const EngineStats stats = world.engine.stats();
  CHECK_EQ(stats.mostDecodeRows, kJobs);
  CHECK_EQ(stats.turns - before, kTokens);  // as many forwards as one of them takes alone
  CHECK_EQ(stats.decodeRows, kJobs * (kTokens - 1));
}

TEST("schedule: a long prefill takes no turn from a job that decodes") {
  World world({.cacheBytes = 16 << 20, .maxBatchRows = 32});
  world.sink->hold();
  const uint64_t decoding =
      world.engine.submit(World::generation(World::tokens(world.segment(), 8), World::greedy(60)));
  world.sink->wait(decoding, [](const Told& told) { return told.progress == 8; });
  std::vector<uint64_t> prefills;
  for (int i = 0; i < 3; ++i) {
    prefills.push_back(
        world.engine.submit(World::job({World::tokens(world.segment(), 500, 7 * i)})));
  }
  world.sink->letGo();
  const Told told = world.sink->end(decoding);
  CHECK_EQ(told.done.stats.turns, 60);
  CHECK_EQ(told.done.stats.turnsSkipped, 0);
  CHECK(told.tokens == alone(8, 5, World::greedy(60)).tokens);
  for (const uint64_t job : prefills) {
    const Told done = world.sink->end(job);
    CHECK_EQ(done.failed, "");
    CHECK_EQ(done.done.stats.rowsComputed, 500);
  }
  // 1500 rows in pieces of at most 31, all of them used.
  CHECK(world.engine.stats().turns <= 8 + 60 + (1500 + 30) / 31);
}

TEST("schedule: a short prompt passes a long one, which keeps half of the rows") {
  World world({.cacheBytes = 16 << 20, .maxBatchRows = 64});
  holdEngine(world);
  const uint64_t early = world.engine.submit(World::job({World::tokens(world.segment(), 512)}));
  const uint64_t brief = world.engine.submit(World::job({World::tokens(world.segment(), 16)}));
  const uint64_t later = world.engine.submit(World::job({World::tokens(world.segment(), 512, 9)}));
  world.sink->letGo();
  CHECK_EQ(world.sink->end(brief).done.stats.turns, 1);
  // 32 rows beside the two others, then 48, as the later one is offered half of the other half.
  const Told first = world.sink->end(early);
  CHECK(first.done.stats.turns <= 2 * 512 / 64);
  CHECK_EQ(first.done.stats.turnsSkipped, 0);
  const Told last = world.sink->end(later);
  constexpr int kTurns = (512 + 16 + 512 + 63) / 64;  // no row was left empty
  CHECK_EQ(last.done.stats.turns + last.done.stats.turnsSkipped, kTurns);
  CHECK_EQ(world.engine.stats().turns, 1 + kTurns);
}

TEST("schedule: jobs that prefill begin in the order of submission") {
  World world({.cacheBytes = 16 << 20, .maxBatchRows = 16});
  holdEngine(world);
  std::vector<uint64_t> jobs;
  for (int i = 0; i < 6; ++i)
    jobs.push_back(world.engine.submit(World::job({World::tokens(world.segment(), 40, i)})));
  world.sink->letGo();
  int64_t waited = -1;
  for (const uint64_t job : jobs) {
    const JobStats stats = world.sink->end(job).done.stats;
    CHECK(stats.turns + stats.turnsSkipped > waited);  // each ends after the one before
    waited = stats.turns + stats.turnsSkipped;
  }
  CHECK_EQ(waited, 6 * 40 / 16);
}

TEST("schedule: more decoding jobs than rows take turns, none is more than one behind") {
  constexpr int kJobs = 10;
  for (const int rows : {1, 3, 4, 9}) {
    World world({.cacheBytes = 32 << 20, .maxBatchRows = rows});
    const std::vector<uint64_t> jobs = houseOf(world, kJobs, 400);
    std::map<uint64_t, Told> before = world.sink->waitHeld();
    const size_t goal = before[jobs[0]].tokens.size() + 20;
    world.sink->holdWhen([goal, &jobs](const std::map<uint64_t, Told>& told) {
      return told.at(jobs[0]).tokens.size() >= goal;
    });
    world.sink->letGo();
    std::map<uint64_t, Told> after = world.sink->waitHeld();
    for (const uint64_t job : jobs) {
      // Both looks fall into the middle of a turn: one more to either side.
      const auto gained = static_cast<int>(after[job].tokens.size() - before[job].tokens.size());
      CHECK(gained >= 18 && gained <= 22);
    }
    CHECK(world.engine.stats().mostDecodeRows <= rows);
    for (const uint64_t job : jobs) world.engine.cancel(job);
    world.sink->letGo();
    for (const uint64_t job : jobs) CHECK_EQ(world.sink->end(job).failed, "ABORTED");
  }
}

TEST("schedule: a house full of decoding jobs still lets a newcomer prefill") {
  constexpr int kPrompt = 32;
  for (const int rows : {1, 4, 16}) {
    World world({.cacheBytes = 32 << 20, .maxBatchRows = rows});
    const std::vector<uint64_t> jobs = houseOf(world, 16, 400);
    const uint64_t newcomer =
        world.engine.submit(World::job({World::tokens(world.segment(), kPrompt)}));
    world.sink->letGo();
    const Told told = world.sink->end(newcomer);
    CHECK_EQ(told.failed, "");
    // An eighth of the rows is its own, and no more: 32 rows in 32 * 8 / rows turns.
    const int64_t turns = told.done.stats.turns + told.done.stats.turnsSkipped;
    CHECK(turns >= kPrompt * 8 / rows - 8 && turns <= kPrompt * 8 / rows + 8);
    for (const uint64_t job : jobs) world.engine.cancel(job);
    for (const uint64_t job : jobs) CHECK_EQ(world.sink->end(job).ends, 1);
  }
}

TEST("engine: log-probabilities come with their tokens, and none for those that a stop drops") {
  World world;
  const GenerateSpec free = World::greedy(12);
  const Told whole = alone(6, 5, free);
  auto vocabulary = std::make_shared<Vocabulary>();  // token t is written "<t>"
  vocabulary->offsets.push_back(0);
  for (int token = 0; token < 512; ++token) {
    vocabulary->bytes += '<' + std::to_string(token) + '>';
    vocabulary->offsets.push_back(static_cast<uint32_t>(vocabulary->bytes.size()));
  }
  world.engine.setVocabulary(vocabulary);
  GenerateSpec spec = World::greedy(12);
  spec.logprobs = 3;
  spec.stops = {"><" + std::to_string(whole.tokens[9]) + ">"};
  Job job = World::generation(World::tokens(world.segment(), 6), spec);
  job.logits = LogitsWanted::kLast;
  const Told told = world.sink->end(world.engine.submit(std::move(job)));
  CHECK_EQ(told.failed, "");
  REQUIRE(!told.tokens.empty() && told.tokens.size() < 12);
  CHECK_EQ(told.logprobs.chosen.size(), told.tokens.size());
  CHECK_EQ(told.logprobs.topIds.size(), 3 * told.tokens.size());
  // Greedy: the likeliest is the one that was taken.
  for (size_t i = 0; i < told.tokens.size(); ++i) {
    CHECK_EQ(told.logprobs.topIds[3 * i], told.tokens[i]);
    CHECK_EQ(told.logprobs.topLogprobs[3 * i], told.logprobs.chosen[i]);
    CHECK(told.logprobs.topLogprobs[3 * i] > told.logprobs.topLogprobs[3 * i + 1]);
  }
  // The first place's logits were handed out: the same figures from them.
  REQUIRE(told.logits.size() == 512);
  const double total = logSumExp(told.logits.data(), 512);
  CHECK_NEAR(told.logprobs.chosen[0], told.logits[static_cast<size_t>(told.tokens[0])] - total,
             1e-6);
}

TEST("engine: bias, penalties and temperature change the tokens, never the log-probabilities") {
  GenerateSpec plain = World::greedy(1);
  plain.logprobs = 20;
  const Told before = alone(9, 3, plain);
  GenerateSpec changed = plain;
  changed.sampler.temperature = 1.7f;
  changed.sampler.topK = 5;
  changed.sampler.biasIds = {before.tokens[0], 400};
  changed.sampler.biases = {-1e9f, 1e9f};
  const Told after = alone(9, 3, changed);
  CHECK(after.tokens == std::vector<int32_t>{400});
  CHECK(after.logprobs.topIds == before.logprobs.topIds);
  CHECK(after.logprobs.topLogprobs == before.logprobs.topLogprobs);
  CHECK(after.logprobs.chosen[0] < before.logprobs.chosen[0]);
}

TEST("engine: the closing token has the figures that it has where it does not close") {
  GenerateSpec spec = World::greedy(12);
  spec.logprobs = 3;
  const Told whole = alone(6, 5, spec);
  spec.closers = {whole.tokens[7]};
  const auto first = std::find(whole.tokens.begin(), whole.tokens.end(), whole.tokens[7]);
  const auto at = static_cast<size_t>(first - whole.tokens.begin());
  const Told told = alone(6, 5, spec);
  CHECK(told.done.reason == DoneReason::kClosed);
  CHECK_EQ(told.done.closer, whole.tokens[at]);
  CHECK(told.tokens == std::vector<int32_t>(whole.tokens.begin(), first));
  CHECK_EQ(told.logprobs.chosen.size(), at);
  Logprobs figures = whole.logprobs;
  figures.top = spec.logprobs;
  const Logprobs wanted = figures.slice(at, 1);
  CHECK_EQ(wanted.chosen.size(), 1u);
  CHECK(told.done.closing.chosen == wanted.chosen);
  CHECK(told.done.closing.topIds == wanted.topIds);
  CHECK(told.done.closing.topLogprobs == wanted.topLogprobs);
  spec.logprobs = -1;
  const Told plain = alone(6, 5, spec);
  CHECK_EQ(plain.done.closer, whole.tokens[at]);
  CHECK(plain.done.closing.chosen.empty());
  CHECK_EQ(whole.done.closer, -1);
}
