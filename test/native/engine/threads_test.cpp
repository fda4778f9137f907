// SPDX-License-Identifier: Apache-2.0
// Many threads at one engine through its public interface: jobs over shared contents on a pool that
// is too small for all of them, aborts, handles let go at any moment, and questions about all of
// it. Whatever ends well has ended as if it had been alone. `npm run test:threads` runs this under
// ThreadSanitizer.
#include <atomic>
#include <random>
#include <string>
#include <thread>

#include "check.h"
#include "engine/cache_world.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr int kThreads = 6, kRounds = 25, kDocuments = 3, kQuestions = 4;
constexpr int kDocument = 70, kQuestion = 21, kTokens = 5;

struct Asked {
  Ptr document, question, output;
  uint64_t job;
};

// A document alone, a question behind it, an opener of more than a block, and an answer.
Asked ask(World& in, int document, int question) {
  Asked asked{};
  asked.document = in.segment();
  asked.question = in.segment(kDocument, {{asked.document, kDocument, 0}});
  asked.output = in.segment(kDocument + kQuestion,
                            {{asked.document, kDocument, 0}, {asked.question, kQuestion, 0}});
  Job job = World::generation(World::tokens(asked.output, 17, 9), World::greedy(kTokens));
  job.appends.insert(job.appends.begin(),
                     {Cache::closing(World::tokens(asked.document, kDocument, 10 + document)),
                      Cache::closing(World::tokens(asked.question, kQuestion, 200 + question))});
  asked.job = in.engine.submit(std::move(job));
  return asked;
}

// Asks everything that any thread may ask at any moment. False: the pool is beyond its budget.
bool lookAround(World& world, const Asked& asked) {
  (void)world.engine.pool()->census();
  (void)world.engine.stats();
  (void)world.engine.rowsComputed();
  (void)world.engine.rowsReused();
  for (const Ptr& segment : {asked.document, asked.question, asked.output}) {
    (void)segment->rows();
    (void)segment->closed();
    (void)segment->appending();
    (void)segment->blockCount();
    (void)segment->openDepth();
    (void)segment->identity(16);
  }
  const Pool::Stats stats = world.engine.pool()->stats();
  return stats.blocksUsed + stats.blocksKept <= stats.blocksTotal;
}

using Answers = std::vector<std::vector<int32_t>>;

Answers answersAlone() {
  World cold(cacheOptions(0));
  Answers answers;
  for (int document = 0; document < kDocuments; ++document) {
    for (int question = 0; question < kQuestions; ++question)
      answers.push_back(cold.sink->end(ask(cold, document, question).job).tokens);
  }
  return answers;
}

// One thread's work. Returns what went otherwise than it may.
std::string work(World& world, const Answers& answers, unsigned seed, int& endedWell) {
  std::mt19937 random(seed);
  const auto below = [&random](unsigned n) { return static_cast<int>(random() % n); };
  for (int round = 0; round < kRounds; ++round) {
    const int document = below(kDocuments), question = below(kQuestions);
    Asked asked = ask(world, document, question);
    const uint64_t job = asked.job;
    if (!lookAround(world, asked)) return "the pool holds more than its budget";
    if (below(4) == 0) asked = {};  // all handles gone while the job is in flight
    if (below(3) == 0) std::this_thread::yield();
    if (below(4) == 0) world.engine.cancel(job);
    const Told told = world.sink->end(job);
    if (asked.document != nullptr) (void)lookAround(world, asked);
    if (told.ends != 1) return "a job has ended " + std::to_string(told.ends) + " times";
    if (told.failed == "ABORTED" || told.failed == "CACHE_BUDGET") continue;
    if (!told.failed.empty()) return told.failed;
    const auto wanted = static_cast<size_t>(document * kQuestions + question);
    if (told.tokens != answers[wanted]) return "other tokens than alone";
    if (asked.output != nullptr) asked.output->close();
    ++endedWell;
  }
  return {};
}

struct Crowd {
  std::string failures;
  int endedWell = 0;
};

Crowd run(World& world, const Answers& answers) {
  std::vector<std::string> failures(kThreads);
  std::vector<int> endedWell(kThreads, 0);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      try {
        failures[i] = work(world, answers, static_cast<unsigned>(i) + 1, endedWell[i]);
      } catch (const std::exception& error) {
        failures[i] = error.what();
      }
    });
  }
  Crowd crowd;
  for (size_t i = 0; i < kThreads; ++i) {
    threads[i].join();
    crowd.failures += failures[i];
    crowd.endedWell += endedWell[i];
  }
  return crowd;
}

}  // namespace

TEST("threads: jobs, aborts and questions from six threads change no token and leave nothing") {
  const Answers answers = answersAlone();
  const size_t block = smallPool() / kBlocks;
  // Room for all, for two or three jobs at a time, and an index that cannot keep a document.
  for (const auto& [blocks, kept] : {std::pair<size_t, size_t>{200, 100}, {26, 26}, {26, 2}}) {
    Cache cache(kept * block, blocks * block);
    const Crowd crowd = run(cache, answers);
    CHECK_EQ(crowd.failures, "");
    CHECK(crowd.endedWell > 0);
    cache.engine.close();  // the engine thread has let go of the last job
    const Pool::Stats stats = cache.engine.pool()->stats();
    CHECK_EQ(stats.blocksUsed, 0u);
    CHECK_EQ(stats.segments, 0u);
    CHECK(stats.blocksKept <= kept);
    CHECK(stats.blocksPeak <= blocks);
  }
}

TEST("threads: an engine that is closed under its users ends every job once") {
  for (int attempt = 0; attempt < 4; ++attempt) {
    Cache cache;
    std::atomic<int> refused{0}, wrong{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        for (int round = 0; refused < 4; ++round) {
          try {
            const Asked asked = ask(cache, i % kDocuments, round % kQuestions);
            const Told told = cache.sink->end(asked.job);
            if (told.ends != 1 || (!told.failed.empty() && told.failed != "CLOSED")) ++wrong;
          } catch (const Error& error) {
            if (std::string(error.code()) != "CLOSED") ++wrong;
            ++refused;
            return;
          }
        }
      });
    }
    while (cache.engine.rowsComputed() < 100 * attempt) std::this_thread::yield();
    cache.engine.close();
    for (std::thread& thread : threads) thread.join();
    CHECK_EQ(wrong.load(), 0);
    CHECK_EQ(refused.load(), 4);
    CHECK_EQ(cache.used(), 0u);
  }
}
